// A member of a consumer group of one topic of the relay; README.md says how to run and change it.
// An event may come twice: handle each `id` once, for example by a unique key that your transaction inserts.
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createClient } from "redis";
import { deliverer } from "./deliver.mjs";
import { groupOf } from "./group.mjs";

export { Rejected } from "./deliver.mjs";

const { REDIS_URL: url, TOPIC: topic, GROUP: name, START: start = "0", ...env } = process.env;
const member = env.MEMBER || `${hostname()}-${process.pid}`; // no two processes may share it
const claimAfter = 1000 * Number(env.CLAIM_AFTER || 60); // a dead member's events come to the others after it
const maxDeliveries = Number(env.MAX_DELIVERIES || 10) || Infinity;
// Errors that end it; all others of Redis are waited out.
const fatal = /WRONGPASS|NOAUTH|NOPERM|WRONGTYPE|no topic|client is closed/i;

export async function consume(handle) {
  if (!topic || !name || /^(push|relay):/.test(name)) throw Error("set TOPIC, and GROUP to your own name");
  const reconnectStrategy = (_, cause) => (fatal.test(cause.message) ? cause : 500);
  const socket = { reconnectStrategy, socketTimeout: claimAfter + 5000 };
  const redis = createClient({ url, socket, disableOfflineQueue: true });
  await redis.on("error", (error) => console.error(`Redis: ${error.message}`)).connect();
  const group = groupOf(redis, topic, name, member, claimAfter);
  const deliver = deliverer(group, handle, claimAfter, maxDeliveries);
  let stopped = null;

  async function work() {
    const again = await group.takeOver();
    if (again) return deliver(again.event, again.before);
    for (const event of await group.readNew(10, 500)) if (!stopped) await deliver(event, 0);
  }

  const stop = () => (stopped ??= group.handBack().catch(console.error));
  process.once("SIGTERM", stop).once("SIGINT", stop);
  while (!stopped)
    try {
      await group.join(start);
      while (!stopped) await work();
    } catch (error) {
      if (fatal.test(error.message)) throw error;
      console.error(`${error.message}; trying again`);
      await sleep(1000);
    }
  await stopped;
  await group.handBack().then(group.leave).catch(console.error);
  redis.destroy();
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await consume(async ({ id, chat, entry, deliveries }) =>
    console.log(JSON.stringify({ id, chat, entry, deliveries })),
  );
