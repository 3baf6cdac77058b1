// The events that a member reads, or takes over.
package main

import (
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// readNew reads events that no member has had.
func (g *group) readNew(count int64, block time.Duration) ([]redis.XMessage, error) {
	args := redis.XReadGroupArgs{Group: g.name, Consumer: g.member, Count: count, Block: block}
	args.Streams = []string{g.stream, ">"}
	pipe := g.Pipeline()
	stream, groups := pipe.XInfoStream(always, g.stream), pipe.XInfoGroups(always, g.stream)
	read := pipe.XReadGroup(always, &args)
	if _, err := pipe.Exec(always); err != nil && err != redis.Nil {
		return nil, err
	}
	g.tellMissed(stream.Val(), groups.Val())
	if len(read.Val()) == 0 {
		return nil, nil
	}
	events := read.Val()[0].Messages
	for _, event := range events {
		g.unbegun = append(g.unbegun, event.ID)
	}
	return events, nil
}

// takeOver takes the oldest event that was handed back, or that a member has had for longer than claimAfter.
func (g *group) takeOver() (events []redis.XMessage, before int64, err error) {
	rows, err := g.XPendingExt(always, g.query("-", "+", 100, g.claimAfter)).Result()
	rows = slices.DeleteFunc(rows, isHeldOverHTTP)
	if err != nil || len(rows) == 0 {
		return nil, 0, err
	}
	id, idle := rows[0].ID, rows[0].Idle
	transaction := g.TxPipeline()
	found := transaction.XPendingExt(always, g.query(id, id, 1, idle))
	claimed := transaction.XClaim(always, g.claim(idle, id))
	if _, err = transaction.Exec(always); err != nil || len(claimed.Val()) == 1 {
		return claimed.Val(), rows[0].RetryCount, err
	} else if len(found.Val()) == 1 { // else another member was quicker
		log.Printf("%s was trimmed before it was handled", id) // and Redis has acknowledged it
	}
	return g.takeOver()
}

// isHeldOverHTTP tells if a member over HTTP has the event: for the time in the name of its consumer, in ms.
func isHeldOverHTTP(row redis.XPendingExt) bool {
	var timeout int64
	fmt.Sscanf(row.Consumer, "relay:http:%d:", &timeout)
	return row.Idle.Milliseconds() < timeout
}
