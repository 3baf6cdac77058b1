// The part of a member of a consumer group that is spoken with Redis; there is nothing to change here.
import { watcher } from "./missed.mjs";

// What members handed back belongs to this consumer, and counts as idle for ten years.
const [RETURNED, IDLE] = ["relay:returned", 10 * 365 * 24 * 3600 * 1000];
// A member over HTTP has its events for the time in its name.
const due = (row) => row.millisecondsSinceLastDelivery >= (/^relay:http:(\d+)/.exec(row.consumer)?.[1] ?? 0);

export function groupOf(redis, topic, name, member, claimAfter) {
  const stream = `relay:topic:${topic}`;
  const [places, dead] = [`${stream}:places`, `relay:dead:${topic}:${name}`];
  const watched = watcher(redis, stream, name);
  const pending = (count, options) => redis.xPendingRange(stream, name, "-", "+", count, options);
  const lost = (id) => console.error(`${id} was trimmed before it was handled`);
  const group = { unbegun: new Set(), current: null }; // ids of this member's events

  // Makes the group of a topic that the relay has: where it was lost, or a new one at `start`.
  group.join = async (start) => {
    const known = await redis.sMembers("relay:topics");
    if (known.length && !known.includes(topic))
      throw Error(`no topic "${topic}" (known: ${known.join(", ")})`);
    const place = (await redis.hGet(places, name)) ?? start;
    const made = await redis.xGroupCreate(stream, name, place, { MKSTREAM: true }).catch((error) => error);
    if (made === "OK") console.error(`made the group "${name}" at ${place}`);
    else if (!made.message.startsWith("BUSYGROUP")) throw made;
    await group.handBack(); // what a connection that was lost, or a killed process of this name, had
  };

  group.readNew = async (COUNT, BLOCK) => {
    const read = () => redis.xReadGroup(name, member, { key: stream, id: ">" }, { COUNT, BLOCK });
    const events = (await watched(read))?.[0].messages ?? [];
    events.forEach(({ id }) => group.unbegun.add(id));
    return events;
  };

  // Takes the oldest event that was handed back, or that another member has had for longer than `claimAfter`.
  group.takeOver = async () => {
    const [row] = (await pending(100, { IDLE: claimAfter })).filter(due);
    if (!row) return null;
    const { id, millisecondsSinceLastDelivery: idle, deliveriesCounter: before } = row;
    const transaction = redis.multi().xPendingRange(stream, name, id, id, 1, { IDLE: idle });
    const [[still], [event]] = await transaction.xClaim(stream, name, member, idle, id).exec();
    if (event) return { event, before };
    if (still) lost(id); // and Redis has acknowledged it; else another member was quicker
    return group.takeOver();
  };

  // The heartbeat: without it, others would take over the events of a slow handler.
  group.renew = () => redis.xClaimJustId(stream, name, member, 0, [group.current, ...group.unbegun]);
  group.acknowledge = (id) => redis.xAck(stream, name, id);

  group.bury = async (id, fields, dead_reason, dead_error, deliveries) => {
    const letter = { dead_at: `${Date.now()}`, dead_reason, dead_error, dead_entry: id, dead_member: member };
    Object.assign(letter, fields, { dead_deliveries: `${deliveries}` });
    const options = { TRIM: { strategy: "MAXLEN", strategyModifier: "~", threshold: 100_000 } };
    await redis.multi().xAdd(dead, "*", letter, options).xAck(stream, name, id).exec();
  };

  // Gives all but the current event to whoever asks next. What was not begun does not count as delivered.
  group.handBack = async () => {
    const rows = (await pending(100, { consumer: member })).filter(({ id }) => id !== group.current);
    for (const { id, deliveriesCounter: count } of rows) {
      const options = { IDLE, RETRYCOUNT: group.unbegun.delete(id) ? count - 1 : count };
      if (!(await redis.xClaimJustId(stream, name, RETURNED, 0, id, options)).length) lost(id);
    }
    await (rows.length ? group.handBack() : group.savePlace());
  };

  // Notes where the group goes on if it is lost: before its oldest event that is not acknowledged.
  group.savePlace = async () => {
    const [rows, { firstId }] = await Promise.all([redis.xInfoGroups(stream), redis.xPending(stream, name)]);
    const last = rows.find((row) => row.name === name)["last-delivered-id"];
    await redis.hSet(places, name, firstId ? `${firstId.split("-")[0] - 1}-${2n ** 64n - 1n}` : last);
  };

  group.leave = () => redis.xGroupDelConsumer(stream, name, member);
  return group;
}
