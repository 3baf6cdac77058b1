// The part of a member of a consumer group that is spoken with Redis; there is nothing to change here.
import { handingBack } from "./handback.mjs";
import { watcher } from "./missed.mjs";
import { recorder } from "./records.mjs";

// A member over HTTP has its events for the time in its name.
const due = (row) => row.millisecondsSinceLastDelivery >= (/^relay:http:(\d+)/.exec(row.consumer)?.[1] ?? 0);

export function groupOf(redis, topic, name, member, claimAfter) {
  const stream = `relay:topic:${topic}`;
  const watched = watcher(redis, stream, name);
  const { place, ...records } = recorder(redis, topic, name, member);
  const group = { ...records, unbegun: new Set(), current: null }; // ids of this member's events

  // Makes the group of a topic that the relay has: where it was lost, or a new one at `start`.
  group.join = async (start) => {
    const known = await redis.sMembers("relay:topics");
    if (known.length && !known.includes(topic))
      throw Error(`no topic "${topic}" (known: ${known.join(", ")})`);
    const at = (await place()) ?? start;
    const made = await redis.xGroupCreate(stream, name, at, { MKSTREAM: true }).catch((error) => error);
    if (made === "OK") console.error(`made the group "${name}" at ${at}`);
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
    const [row] = (await redis.xPendingRange(stream, name, "-", "+", 100, { IDLE: claimAfter })).filter(due);
    if (!row) return null;
    const { id, millisecondsSinceLastDelivery: idle, deliveriesCounter: before } = row;
    const transaction = redis.multi().xPendingRange(stream, name, id, id, 1, { IDLE: idle });
    const [[still], [event]] = await transaction.xClaim(stream, name, member, idle, id).exec();
    if (event) return { event, before };
    // Redis has acknowledged what is trimmed; else another member was quicker.
    if (still) console.error(`${id} was trimmed before it was handled`);
    return group.takeOver();
  };

  // The heartbeat: without it, others would take over the events of a slow handler.
  group.renew = () => redis.xClaimJustId(stream, name, member, 0, [group.current, ...group.unbegun]);
  group.acknowledge = (id) => redis.xAck(stream, name, id);

  group.handBack = handingBack(redis, stream, name, member, group);
  group.leave = () => redis.xGroupDelConsumer(stream, name, member);
  return group;
}
