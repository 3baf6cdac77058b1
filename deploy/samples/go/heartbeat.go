// The heartbeat, without which other members would take over the events of a slow handler.
package main

import (
	"context"
	"log"
	"slices"
	"time"
)

// wait renews this member's events until its turn, or the handler's end, comes.
// Readers over HTTP take what was not renewed for a minute.
func (g *group) wait(ctx context.Context, done <-chan error) error {
	every, stop := min(g.claimAfter, time.Minute)/3, ctx.Done()
	heartbeat := time.NewTicker(every)
	defer heartbeat.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-heartbeat.C:
			heartbeat.Reset(every)
			if err := g.renew(); err != nil {
				log.Printf("%s: %v", g.stream, err)
				heartbeat.Reset(min(every, time.Second))
			}
		case <-stop:
			stop = nil
			if err := g.handBack(); err != nil {
				log.Print(err)
			}
		}
	}
}

func (g *group) renew() error {
	ids := slices.Clone(g.unbegun)
	if g.current != "" {
		ids = append(ids, g.current)
	}
	if len(ids) == 0 {
		return nil
	}
	err := g.XClaimJustID(always, g.claim(0, ids...)).Err()
	if err != nil {
		g.reconnect() // another node of the cluster may have the shard now
	}
	return err
}
