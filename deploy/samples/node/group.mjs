// The group on one shard, as it is spoken with Redis; there is nothing to change here.
import { watcher } from "./missed.mjs";
import { open } from "./redis.mjs";
import { keysOf } from "./shards.mjs";

// A member over HTTP has its events for the time in its name.
const due = (row) => row.millisecondsSinceLastDelivery >= (/^relay:http:(\d+)/.exec(row.consumer)?.[1] ?? 0);

export function groupOf({ url, topic, name, start, member, claimAfter, shard }) {
  const group = { topic, name, start, member, shard, ...keysOf(url, topic, name, shard) };
  const [{ stream }, watched] = [group, watcher(group)];
  Object.assign(group, { redis: null, from: shard ? "0" : start, savedAt: 0, countedAt: 0 });
  Object.assign(group, { unbegun: new Set(), current: null }); // ids of this member's events
  group.beatEvery = Math.min(claimAfter, 60_000) / 3; // over HTTP, what is silent for a minute is taken

  // An id as the handler gets it: on another shard than the first, with its number.
  group.entry = (id) => (shard ? `${id}.${shard}` : id);

  group.open = async () => {
    const former = group.redis;
    group.redis = null;
    former?.destroy();
    group.redis = await open(url, group, claimAfter);
  };

  // Makes the group, unless it is there: where it was lost, or at its beginning.
  group.make = async () => {
    const at = (await group.redis.hGet(group.places, name)) ?? group.from;
    const made = await group.redis.xGroupCreate(stream, name, at, { MKSTREAM: true }).catch((error) => error);
    if (made === "OK") console.error(`${stream}: made the group "${name}" at ${at}`);
    else if (!made.message.startsWith("BUSYGROUP")) throw made;
  };

  group.readNew = async (COUNT, BLOCK) => {
    const read = () => group.redis.xReadGroup(name, member, { key: stream, id: ">" }, { COUNT, BLOCK });
    const events = (await watched(read))?.[0].messages ?? [];
    events.forEach(({ id }) => group.unbegun.add(id));
    return events;
  };

  // Returns the oldest event that was handed back, or that a member has had for longer than `claimAfter`.
  group.nextDue = async () =>
    (await group.redis.xPendingRange(stream, name, "-", "+", 100, { IDLE: claimAfter })).find(due);

  group.claim = async ({ id, millisecondsSinceLastDelivery: idle, deliveriesCounter: before }) => {
    const transaction = group.redis.multi().xPendingRange(stream, name, id, id, 1, { IDLE: idle });
    const [[still], [event]] = await transaction.xClaim(stream, name, member, idle, id).exec();
    if (event) return { event, before };
    // Redis has acknowledged what is trimmed; else another member was quicker.
    if (still) console.error(`${group.entry(id)} was trimmed before it was handled`);
    return null;
  };

  // The heartbeat: without it, others would take over the events of a slow handler.
  group.renew = async () => {
    const ids = [...group.unbegun, group.current].filter(Boolean);
    if (ids.length) await group.redis?.xClaimJustId(stream, name, member, 0, ids);
  };
  return group;
}
