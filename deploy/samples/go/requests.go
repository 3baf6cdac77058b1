// The arguments of requests that several parts make.
package main

import (
	"time"

	"github.com/redis/go-redis/v9"
)

func (g *group) query(from, to string, count int64, idle time.Duration) *redis.XPendingExtArgs {
	query := redis.XPendingExtArgs{Stream: g.stream, Group: g.name, Start: from, End: to, Count: count}
	query.Idle = idle
	return &query
}

func (g *group) claim(idle time.Duration, ids ...string) *redis.XClaimArgs {
	own := redis.XClaimArgs{Stream: g.stream, Group: g.name, Consumer: g.member, MinIdle: idle}
	own.Messages = ids
	return &own
}
