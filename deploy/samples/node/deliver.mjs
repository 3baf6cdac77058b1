// One delivery: its turn, the handler, and then an acknowledgement or a dead letter.
import { bury, savePlace } from "./records.mjs";

// For a handler to throw: no later delivery can help, so the event becomes a dead letter at once.
export class Rejected extends Error {}

export function deliverer(handle, maxDeliveries, isStopped) {
  let turn = Promise.resolve();
  const inTurn = (work) => (turn = turn.then(work, work)); // one event at a time, whichever shard it is on

  async function begin(group, take) {
    const taken = !isStopped() && (await take());
    if (!taken) return null;
    const { id, message } = taken.event;
    const deliveries = Math.min(taken.before + 1, maxDeliveries);
    group.current = id;
    group.unbegun.delete(id);
    let error = taken.before >= maxDeliveries && Error(""); // its handler ended the process, each time
    const event = { ...message, entry: group.entry(id), deliveries };
    if (!error) await handle(event).catch((thrown) => (error = thrown));
    return { id, message, deliveries, error };
  }

  async function settle(group, { id, message, deliveries, error }) {
    const reason = error instanceof Rejected ? "rejected" : deliveries >= maxDeliveries && "max_deliveries";
    const told = `${group.entry(id)}, delivery ${deliveries}: ${reason || "comes again"}`;
    if (error) console.error(`${told}: ${error.message}`);
    if (!error) await group.redis.xAck(group.stream, group.name, id);
    else if (reason) await bury(group, id, message, reason, error.message.slice(0, 500), deliveries);
    if (Date.now() - group.savedAt > 1000) await savePlace(group);
  }

  // `take` returns the event and the number of its earlier deliveries, or null if another member was quicker.
  return async (group, take) => {
    const begun = await inTurn(() => begin(group, take));
    if (begun) await settle(group, begun).finally(() => (group.current = null));
  };
}
