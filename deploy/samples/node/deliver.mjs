// One delivery: the handler, the heartbeat meanwhile, and then an acknowledgement or a dead letter.

// For a handler to throw: no later delivery can help, so the event becomes a dead letter at once.
export class Rejected extends Error {}

export function deliverer(group, handle, claimAfter, maxDeliveries) {
  const beatEvery = Math.min(claimAfter, 60_000) / 3; // over HTTP, what is silent for a minute is taken
  let savedAt = 0;

  // `before` is the number of earlier deliveries.
  return async ({ id, message }, before) => {
    const deliveries = Math.min(before + 1, maxDeliveries);
    group.current = id;
    group.unbegun.delete(id);
    const heartbeat = setInterval(() => group.renew().catch(console.error), beatEvery);
    let error = before >= maxDeliveries && Error(""); // its handler ended the process, each time
    if (!error) await handle({ ...message, entry: id, deliveries }).catch((thrown) => (error = thrown));
    clearInterval(heartbeat);
    group.current = null;
    const reason = error instanceof Rejected ? "rejected" : deliveries >= maxDeliveries && "max_deliveries";
    if (error) console.error(`${id}, delivery ${deliveries}: ${reason || "comes again"}: ${error.message}`);
    if (!error) await group.acknowledge(id);
    else if (reason) await group.bury(id, message, reason, error.message.slice(0, 500), deliveries);
    if (Date.now() - savedAt > 1000) await group.savePlace().then(() => (savedAt = Date.now()));
  };
}
