// One delivery: the handler, and then an acknowledgement or a dead letter.
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
		shown := redis.XMessage{ID: g.entry(event.ID), Values: event.Values}
		go func() { done <- handle(shown, deliveries) }()
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
		log.Printf("%s, delivery %d: comes again: %v", g.entry(event.ID), deliveries, err)
		return nil
	} else {
		err = g.XAck(always, g.stream, g.name, event.ID).Err()
	}
	if err == nil && time.Since(g.savedAt) > time.Second {
		err = g.savePlace()
	}
	return err
}
