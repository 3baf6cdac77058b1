// One delivery: the handler, the heartbeat meanwhile, and then an acknowledgement or a dead letter.
package main

import (
	"context"
	"errors"
	"log"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

func (g *group) deliver(ctx context.Context, event redis.XMessage, before int64) (err error) {
	g.current = event.ID
	g.unbegun = slices.DeleteFunc(g.unbegun, func(id string) bool { return id == event.ID })
	done, deliveries := make(chan error, 1), min(before+1, g.maxDeliveries)
	if before < g.maxDeliveries {
		go func() { done <- handle(event, deliveries) }()
	} else {
		done <- errors.New("") // its handler ended the process, each time
	}
	err = g.wait(ctx, done)
	g.current = ""
	if errors.Is(err, errRejected) {
		err = g.bury(event, deliveries, "rejected", err)
	} else if err != nil && deliveries == g.maxDeliveries {
		err = g.bury(event, deliveries, "max_deliveries", err)
	} else if err != nil {
		log.Printf("%s, delivery %d: comes again: %v", event.ID, deliveries, err)
		return nil
	} else {
		err = g.XAck(always, g.stream, g.name, event.ID).Err()
	}
	if err == nil && time.Since(g.savedAt) > time.Second {
		err = g.savePlace()
	}
	return err
}

// wait renews this member's events, so that no other takes them over, until the handler is done.
// Readers over HTTP take what was not renewed for a minute.
func (g *group) wait(ctx context.Context, done <-chan error) error {
	heartbeat, stop := time.NewTicker(min(g.claimAfter, time.Minute)/3), ctx.Done()
	defer heartbeat.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-heartbeat.C:
			g.XClaimJustID(always, g.claim(0, append(slices.Clone(g.unbegun), g.current)...))
		case <-stop:
			stop = nil
			if err := g.handBack(); err != nil {
				log.Print(err)
			}
		}
	}
}
