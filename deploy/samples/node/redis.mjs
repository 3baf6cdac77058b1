// The connection to Redis, or to a cluster: one for each shard, as a read that waits holds it up.
import { setTimeout as sleep } from "node:timers/promises";
import { createClient, createCluster } from "redis";

// Errors that end the process; all others of Redis are waited out.
export const fatal = /WRONGPASS|NOAUTH|NOPERM|WRONGTYPE|no topic/;

export const isCluster = (url) => /^rediss?\+cluster:/.test(url);

// redis+cluster://user:password@host1:6379,host2:6379
function clusterOf(url, options) {
  const [, scheme, credentials = "", hosts] = /^(rediss?)\+cluster:\/\/(.*@)?(.*)$/.exec(url);
  const rootNodes = hosts.split(",").map((host) => ({ url: `${scheme}://${credentials}${host}` }));
  const [username, password] = credentials.slice(0, -1).split(":").map(decodeURIComponent);
  const socket = { ...options.socket, tls: scheme === "rediss" };
  const defaults = { ...options, ...(password && { username, password }), socket };
  return createCluster({ rootNodes, defaults, minimizeConnections: true });
}

// Connects to the server that has a shard.
export async function open(url, { stream, key }, claimAfter) {
  let cause;
  const reconnectStrategy = (_, error) => (fatal.test(error.message) ? error : 500);
  const socket = { reconnectStrategy, socketTimeout: claimAfter + 5000 };
  const options = { socket, pingInterval: claimAfter / 2, disableOfflineQueue: true };
  const redis = isCluster(url) ? clusterOf(url, options) : createClient({ url, ...options });
  const tell = (error) => console.error(`${stream}: ${(cause = error).message}`);
  const connected = redis.on("error", tell).on("node-error", tell).connect();
  const late = sleep(5000, null, { ref: false }).then(() => Promise.reject(Error("no answer of Redis")));
  try {
    await Promise.race([connected.then(() => redis.sMembers(key("topics"))), late]);
    return redis;
  } catch (error) {
    redis.destroy();
    throw fatal.test(cause?.message) ? cause : error;
  }
}
