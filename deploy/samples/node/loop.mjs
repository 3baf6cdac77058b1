// The loop of a member on one shard.
import { setTimeout as sleep } from "node:timers/promises";
import { handBack, leave } from "./handback.mjs";
import { fatal } from "./redis.mjs";
import { checkTopic, countShards } from "./shards.mjs";

export function looper(deliver, isStopped, of, readShards) {
  async function join(group) {
    await group.open();
    if (group.shard === 0) await checkTopic(group);
    if (group.shard === 0) readShards(await countShards(group, of));
    await group.make();
    group.from = group.start;
    await handBack(group); // what a connection that was lost, or a killed process of this name, had
  }

  // Handles one event that comes again, else a batch of new ones.
  async function work(group) {
    if (group.shard === 0 && Date.now() - group.countedAt > group.beatEvery)
      readShards(await countShards(group, of));
    const row = await group.nextDue();
    if (row) return deliver(group, () => group.claim(row));
    for (const event of await group.readNew(10, 500)) await deliver(group, () => ({ event, before: 0 }));
  }

  return async (group) => {
    const heartbeat = setInterval(() => group.renew().catch(console.error), group.beatEvery);
    while (!isStopped())
      try {
        await join(group);
        while (!isStopped()) await work(group);
      } catch (error) {
        if (fatal.test(error.message)) throw error;
        console.error(`${group.stream}: ${error.message}; trying again`);
        await sleep(1000);
      }
    clearInterval(heartbeat);
    await isStopped(); // what it had is handed back
    await leave(group).catch(console.error);
  };
}
