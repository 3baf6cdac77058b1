// What a member writes down: where the group goes on if it is lost, and dead letters.

export function recorder(redis, topic, name, member) {
  const stream = `relay:topic:${topic}`;
  const [places, dead] = [`${stream}:places`, `relay:dead:${topic}:${name}`];
  const options = { TRIM: { strategy: "MAXLEN", strategyModifier: "~", threshold: 100_000 } };
  return {
    place: () => redis.hGet(places, name),

    // Notes where the group goes on if it is lost: before its oldest event that is not acknowledged.
    async savePlace() {
      const looks = [redis.xInfoGroups(stream), redis.xPending(stream, name)];
      const [rows, { firstId }] = await Promise.all(looks);
      const last = rows.find((row) => row.name === name)["last-delivered-id"];
      await redis.hSet(places, name, firstId ? `${firstId.split("-")[0] - 1}-${2n ** 64n - 1n}` : last);
    },

    // Puts an event into the stream that `relay dead` lists and replays.
    async bury(id, fields, dead_reason, dead_error, deliveries) {
      const letter = { dead_at: `${Date.now()}`, dead_reason, dead_error, dead_entry: id };
      Object.assign(letter, { dead_member: member }, fields, { dead_deliveries: `${deliveries}` });
      await redis.multi().xAdd(dead, "*", letter, options).xAck(stream, name, id).exec();
    },
  };
}
