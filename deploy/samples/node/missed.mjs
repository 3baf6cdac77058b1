// Events that Redis trimmed before the group read them. There is nothing to change here.
const numbers = (id) => id.split("-").map(BigInt);
const isBefore = (id, other) => {
  const [[ms, sequence], [otherMs, otherSequence]] = [numbers(id), numbers(other)];
  return ms < otherMs || (ms === otherMs && sequence < otherSequence);
};

function missedBy(group, info, told) {
  const read = group?.["entries-read"]; // Redis does not know it for a while after the group was made again
  const isBehind = read && isBefore(group["last-delivered-id"], info["recorded-first-entry-id"]);
  return isBehind ? info["entries-added"] - info.length - Math.max(read, told) : 0;
}

// Returns a function that reads, and tells how many events the group has missed by then.
export function watcher(group) {
  let told = 0; // the number of trimmed events when it last told of some
  return async (read) => {
    const { redis, stream, name } = group;
    const looks = [redis.xInfoStream(stream), redis.xInfoGroups(stream)]; // right before the read
    const [info, groups, reply] = await Promise.all([...looks, read()]);
    const missed = missedBy(groups.find((row) => row.name === name), info, told);
    if (missed > 0) console.error(`${missed} events were trimmed before they were read`);
    if (missed > 0) told = info["entries-added"] - info.length;
    return reply;
  };
}
