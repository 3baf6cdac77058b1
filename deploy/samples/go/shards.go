// The shards of the relay: a topic is one stream on each, with a group of its own.
package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// checkTopic returns an error if the relay does not have the topic.
func (g *group) checkTopic() error {
	known, err := g.SMembers(always, g.key(0, "topics")).Result()
	if len(known) > 0 && !slices.Contains(known, g.topic) {
		return fmt.Errorf("no topic %q (known: %s)", g.topic, strings.Join(known, ", "))
	}
	return err
}

// read begins to read those of so many shards that are not read yet.
func (m *member) read(ctx context.Context, count int) {
	for ; m.reading < count; m.reading++ {
		m.loops.Add(1)
		go m.of(m.reading).loop(ctx)
	}
}

// countShards begins to read shards that were added; the first one knows how many there are.
func (g *group) countShards(ctx context.Context) error {
	count, err := g.Get(always, g.key(0, "shards")).Int()
	if err != nil && err != redis.Nil { // no relay has run yet
		return err
	}
	groups, err := g.XInfoGroups(always, g.stream).Result()
	if err != nil && err.Error() != "ERR no such key" {
		return err
	}
	if slices.ContainsFunc(groups, func(row redis.XInfoGroup) bool { return row.Name == g.name }) {
		g.countedAt = time.Now()
		g.read(ctx, count)
		return nil
	}
	// It is new: made at start on all shards, here last. So one without it was added later: read from 0.
	for shard := count - 1; shard > 0; shard-- {
		other := g.of(shard)
		if err = other.reconnect(); err == nil {
			other.from = g.start
			err = other.make()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
