// A member of a consumer group of one topic of the relay; README.md says how to run and change it.
// An event may come twice: handle each `id` once, for example by a unique key that your transaction inserts.
import { hostname } from "node:os";
import { fileURLToPath } from "node:url";
import { deliverer } from "./deliver.mjs";
import { groupOf } from "./group.mjs";
import { handBack } from "./handback.mjs";
import { looper } from "./loop.mjs";

export { Rejected } from "./deliver.mjs";

const { REDIS_URL: url, TOPIC: topic, GROUP: name, START: start = "0", ...env } = process.env;
const member = env.MEMBER || `${hostname()}-${process.pid}`; // no two processes may share it
const claimAfter = 1000 * Number(env.CLAIM_AFTER || 60); // a dead member's events come to the others after it
const maxDeliveries = Number(env.MAX_DELIVERIES || 10) || Infinity;

export async function consume(handle) {
  if (!topic || !name || /^(push|relay):/.test(name)) throw Error("set TOPIC, and GROUP to your own name");
  const [groups, loops] = [[], []]; // by shard
  let fail;
  const failed = new Promise((_, reject) => (fail = reject));
  let stopped = null; // a promise once it is to stop
  const isStopped = () => stopped;
  const of = (shard) => groupOf({ url, topic, name, start, member, claimAfter, shard });
  const loop = looper(deliverer(handle, maxDeliveries, isStopped), isStopped, of, readShards);

  // Begins to read those of so many shards that are not read yet.
  function readShards(count) {
    while (loops.length < count) {
      groups.push(of(loops.length));
      loops.push(loop(groups.at(-1)));
      loops.at(-1).catch(fail);
    }
  }

  const stop = () => (stopped ??= Promise.all(groups.map((group) => handBack(group).catch(console.error))));
  process.once("SIGTERM", stop).once("SIGINT", stop);
  readShards(1);
  await Promise.race([failed, loops[0].then(() => Promise.all(loops))]); // it ends when it is stopped
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await consume(async ({ id, chat, entry, deliveries }) =>
    console.log(JSON.stringify({ id, chat, entry, deliveries })),
  );
