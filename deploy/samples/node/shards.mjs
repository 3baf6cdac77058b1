// The shards of the relay: a topic is one stream on each, with a group of its own.
import { isCluster } from "./redis.mjs";

const PREFIX = "relay"; // RELAY_KEY_PREFIX of the relay

// Returns the keys on a shard. On a cluster the prefix is a hash tag: one node has all of them.
export function keysOf(url, topic, name, shard) {
  const prefix = shard ? `${PREFIX}/${shard}` : PREFIX;
  const key = (rest) => (isCluster(url) ? `{${prefix}}:${rest}` : `${prefix}:${rest}`);
  const stream = key(`topic:${topic}`);
  return { stream, places: `${stream}:places`, dead: key(`dead:${topic}:${name}`), key };
}

export async function checkTopic({ redis, key, topic }) {
  const known = await redis.sMembers(key("topics"));
  if (known.length && !known.includes(topic)) throw Error(`no topic "${topic}" (known: ${known.join(", ")})`);
}

// Returns how many shards to read; the first one knows how many there are.
export async function countShards(first, of) {
  const count = Number((await first.redis.get(first.key("shards"))) ?? 1);
  const rows = await first.redis.xInfoGroups(first.stream).catch((error) => {
    if (!/no such key/.test(error.message)) throw error;
    return [];
  });
  if (rows.some((row) => row.name === first.name)) {
    first.countedAt = Date.now();
    return count;
  }
  // It is new: made at start on all shards, here last. So one without it was added later: read from 0.
  for (let shard = count - 1; shard > 0; shard--) {
    const other = Object.assign(of(shard), { redis: first.redis, from: first.start });
    await other.make();
  }
  return 1;
}
