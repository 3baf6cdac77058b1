// The keys of the relay, and what a process knows of itself.
package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const prefix = "relay" // RELAY_KEY_PREFIX of the relay

type member struct {
	topic, name, id, start string
	claimAfter             time.Duration
	maxDeliveries          int64

	isCluster bool
	connect   func(key string) (*redis.Client, error)
	turn      chan error // of handlers: one at a time takes it, and gives it back
	loops     sync.WaitGroup
	reading   int // shards that are read
}

// key returns the name of a key on a shard. On a cluster the prefix is a hash tag.
func (m *member) key(shard int, name string) string {
	tag := prefix
	if shard > 0 {
		tag = fmt.Sprintf("%s/%d", prefix, shard)
	}
	if m.isCluster {
		tag = "{" + tag + "}"
	}
	return tag + ":" + name
}

// of returns the group on a shard.
func (m *member) of(shard int) *group {
	g := &group{member: m, shard: shard, from: "0"}
	if shard == 0 {
		g.from = m.start
	}
	g.stream, g.dead = m.key(shard, "topic:"+m.topic), m.key(shard, "dead:"+m.topic+":"+m.name)
	g.places = g.stream + ":places"
	return g
}

func (g *group) reconnect() (err error) {
	g.Client, err = g.connect(g.stream)
	return err
}

// entry returns an id as the handler gets it: on another shard than the first, with its number.
func (g *group) entry(id string) string {
	if g.shard > 0 {
		return fmt.Sprintf("%s.%d", id, g.shard)
	}
	return id
}
