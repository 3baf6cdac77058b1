// The connection to Redis, or to the nodes of a cluster.
package main

import (
	"strings"

	"github.com/redis/go-redis/v9"
)

// open takes the URL of a Redis, or that of a cluster: redis+cluster://host1:6379,host2:6379.
// One node of a cluster has all keys of a shard, so the shard is read there as at a plain Redis.
// A retry that the loop does not know of would strand the events of a lost reply: there is none.
func (m *member) open(url string) error {
	scheme, nodes, isCluster := strings.Cut(url, "+cluster://")
	if !isCluster {
		options, err := redis.ParseURL(url)
		if err == nil {
			options.MaxRetries, options.PoolSize = -1, 100
			client := redis.NewClient(options)
			m.connect = func(string) (*redis.Client, error) { return client, nil }
		}
		return err
	}
	nodes = strings.ReplaceAll(strings.Replace(nodes, ",", "?addr=", 1), ",", "&addr=")
	options, err := redis.ParseClusterURL(scheme + "://" + nodes)
	if err == nil {
		options.MaxRetries, options.PoolSize = -1, 100
		cluster := redis.NewClusterClient(options)
		m.isCluster, m.connect = true, func(key string) (*redis.Client, error) {
			cluster.ReloadState(always) // the slot may have moved
			return cluster.MasterForKey(always, key)
		}
	}
	return err
}
