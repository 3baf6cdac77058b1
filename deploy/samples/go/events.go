// The events that a member reads or takes over, and the place up to which the group has handled them.
package main

import (
	"log"
	"time"

	"github.com/redis/go-redis/v9"
)

// readNew reads events that no member has had.
func (g *group) readNew(count int64, block time.Duration) ([]redis.XMessage, error) {
	args := redis.XReadGroupArgs{Group: g.name, Consumer: g.member, Count: count, Block: block}
	args.Streams = []string{g.stream, ">"}
	streams, err := g.XReadGroup(always, &args).Result()
	if err == redis.Nil {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	for _, event := range streams[0].Messages {
		g.unbegun = append(g.unbegun, event.ID)
	}
	return streams[0].Messages, nil
}

// takeOver takes the oldest event that was handed back, or that a member has had for longer than claimAfter.
func (g *group) takeOver() (events []redis.XMessage, before int64, err error) {
	rows, err := g.XPendingExt(always, g.query("-", "+", g.claimAfter)).Result()
	if err != nil || len(rows) == 0 {
		return nil, 0, err
	}
	id, idle := rows[0].ID, rows[0].Idle
	transaction := g.TxPipeline()
	found := transaction.XPendingExt(always, g.query(id, id, idle))
	claimed := transaction.XClaim(always, g.claim(idle, id))
	if _, err = transaction.Exec(always); err != nil || len(claimed.Val()) == 1 {
		return claimed.Val(), rows[0].RetryCount, err
	} else if len(found.Val()) == 1 { // else another member was quicker
		log.Printf("%s was trimmed before it was handled", id) // and Redis has acknowledged it
	}
	return g.takeOver()
}

func (g *group) query(from, to string, idle time.Duration) *redis.XPendingExtArgs {
	return &redis.XPendingExtArgs{Stream: g.stream, Group: g.name, Start: from, End: to, Count: 1, Idle: idle}
}

func (g *group) claim(idle time.Duration, ids ...string) *redis.XClaimArgs {
	own := redis.XClaimArgs{Stream: g.stream, Group: g.name, Consumer: g.member, MinIdle: idle}
	own.Messages = ids
	return &own
}
