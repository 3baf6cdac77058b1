// The group on one shard, and how a member joins it.
package main

import (
	"cmp"
	"context"
	"log"
	"time"

	"github.com/redis/go-redis/v9"
)

type group struct {
	*member
	*redis.Client
	shard                int
	stream, places, dead string
	from                 string // where it begins if it is new

	unbegun            []string // ids of the events that were read, and wait
	current            string   // id of the event that is being handled
	savedAt, countedAt time.Time
	told               int64 // events that were trimmed when tellMissed last said so
}

// join makes the group of a topic that the relay has.
func (g *group) join(ctx context.Context) error {
	err := g.reconnect()
	if err == nil && g.shard == 0 {
		err = g.checkTopic()
	}
	if err == nil && g.shard == 0 {
		err = g.countShards(ctx)
	}
	if err == nil {
		err = g.make()
	}
	if err == nil {
		g.from = g.start
		err = g.handBack() // what a connection that was lost, or a killed process of this name, had
	}
	return err
}

// make makes the group, unless it is there: where it was lost, or at its beginning.
func (g *group) make() error {
	place, err := g.HGet(always, g.places, g.name).Result()
	if err != nil && err != redis.Nil {
		return err
	}
	place = cmp.Or(place, g.from)
	err = g.XGroupCreateMkStream(always, g.stream, g.name, place).Err()
	if redis.HasErrorPrefix(err, "BUSYGROUP") {
		return nil
	} else if err == nil {
		log.Printf("%s: made the group %q at %s", g.stream, g.name, place)
	}
	return err
}
