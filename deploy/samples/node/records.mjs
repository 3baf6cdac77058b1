// What a member writes down: where the group goes on if it is lost, and dead letters.
const TRIM = { strategy: "MAXLEN", strategyModifier: "~", threshold: 100_000 };

// Notes where the group goes on if it is lost: before its oldest event that is not acknowledged.
export async function savePlace(group) {
  const { redis, stream, places, name } = group;
  const looks = [redis.xInfoGroups(stream), redis.xPending(stream, name)];
  const [rows, { firstId }] = await Promise.all(looks);
  const last = rows.find((row) => row.name === name)["last-delivered-id"];
  await redis.hSet(places, name, firstId ? `${firstId.split("-")[0] - 1}-${2n ** 64n - 1n}` : last);
  group.savedAt = Date.now();
}

// Puts an event into the stream that `relay dead` lists and replays.
export async function bury({ redis, stream, dead, name, member }, id, fields, reason, error, deliveries) {
  const letter = { dead_at: `${Date.now()}`, dead_reason: reason, dead_error: error, dead_entry: id };
  Object.assign(letter, { dead_member: member }, fields, { dead_deliveries: `${deliveries}` });
  await redis.multi().xAdd(dead, "*", letter, { TRIM }).xAck(stream, name, id).exec();
}
