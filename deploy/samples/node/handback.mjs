// Handing events back to the group. There is nothing to change here.
import { savePlace } from "./records.mjs";

// What members handed back belongs to this consumer, and counts as idle for ten years.
const [RETURNED, IDLE] = ["relay:returned", 10 * 365 * 24 * 3600 * 1000];

// Gives all but the current event to the member that asks next.
export async function handBack(group) {
  const { redis, stream, name, member } = group;
  if (!redis) return; // it is not connected
  const own = await redis.xPendingRange(stream, name, "-", "+", 100, { consumer: member });
  const rows = own.filter(({ id }) => id !== group.current);
  for (const { id, deliveriesCounter: count } of rows) {
    // What was not begun does not count as delivered.
    const options = { IDLE, RETRYCOUNT: group.unbegun.delete(id) ? count - 1 : count };
    const moved = await redis.xClaimJustId(stream, name, RETURNED, 0, id, options);
    if (!moved.length) console.error(`${group.entry(id)} was trimmed before it was handled`);
  }
  await (rows.length ? handBack(group) : savePlace(group));
}

// Ends the membership.
export async function leave(group) {
  try {
    await handBack(group);
    await group.redis?.xGroupDelConsumer(group.stream, group.name, group.member);
  } finally {
    group.redis?.destroy();
  }
}
