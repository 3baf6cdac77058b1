// The events that a member reads, or takes over.
package main

import (
	"context"
	"log"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// readNew reads events that no member has had.
func (g *group) readNew(count int64, block time.Duration) ([]redis.XMessage, error) {
	args := redis.XReadGroupArgs{Group: g.name, Consumer: g.id, Count: count, Block: block}
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

// nextDue returns the oldest event that was handed back, or that a member has had for longer than claimAfter.
func (g *group) nextDue() (*redis.XPendingExt, error) {
	rows, err := g.XPendingExt(always, g.query("-", "+", 100, g.claimAfter)).Result()
	if rows = slices.DeleteFunc(rows, isHeldOverHTTP); err != nil || len(rows) == 0 {
		return nil, err
	}
	return &rows[0], nil
}

// takeOver delivers an event that is due.
func (g *group) takeOver(ctx context.Context, row *redis.XPendingExt) error {
	transaction := g.TxPipeline()
	found := transaction.XPendingExt(always, g.query(row.ID, row.ID, 1, row.Idle))
	claimed := transaction.XClaim(always, g.claim(row.Idle, row.ID))
	if _, err := transaction.Exec(always); err != nil {
		return err
	} else if len(claimed.Val()) == 1 {
		return g.deliver(ctx, claimed.Val()[0], row.RetryCount)
	} else if len(found.Val()) == 1 { // else another member was quicker
		log.Printf("%s was trimmed before it was handled", g.entry(row.ID)) // and Redis has acknowledged it
	}
	return nil
}
