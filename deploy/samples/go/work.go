// The order of work: what comes again before new events, and one event at a time, whichever shard it is on.
package main

import (
	"context"
	"time"
)

// work handles one event that comes again, else a batch of new ones.
func (g *group) work(ctx context.Context) error {
	if g.shard == 0 && time.Since(g.countedAt) > min(g.claimAfter, time.Minute)/3 {
		if err := g.countShards(ctx); err != nil {
			return err
		}
	}
	if row, err := g.nextDue(); err != nil || row != nil {
		return g.inTurn(ctx, err, func() error { return g.takeOver(ctx, row) })
	}
	events, err := g.readNew(10, 500*time.Millisecond)
	for _, event := range events {
		err = g.inTurn(ctx, err, func() error { return g.deliver(ctx, event, 0) })
	}
	return err
}

// inTurn waits until no handler works on any shard.
func (g *group) inTurn(ctx context.Context, err error, work func() error) error {
	if err == nil && ctx.Err() == nil {
		err = g.wait(ctx, g.turn)
		defer func() { g.turn <- nil }()
	}
	if err == nil && ctx.Err() == nil {
		err = work()
	}
	return err
}
