// Push handler in Express with Linq's official SDK: verifies what the relay signed, handles each event once, and responds.
//
//   WEBHOOK_SECRET="whsec_..." PORT=9000 npm start
//
// Respond only when the event is safe: after 2xx the relay never sends it again, and without a response in ten seconds, or
// after 5xx, it sends it again later. Work that takes longer belongs in a queue that survives a restart; `handle` then
// only writes to it.
import Linq from "@linqapp/sdk";
import express from "express";

const MAX_HANDLED = 100_000;

// One secret; while it is rotated two, separated by a space: either may have signed.
const secrets = (process.env.WEBHOOK_SECRET ?? "").split(/\s+/).filter(Boolean);
if (!secrets.length) {
  console.error('WEBHOOK_SECRET is empty; set it to the secret of the subscription, "whsec_..."');
  process.exit(1);
}
// The client wants a key, for calls of Linq's API. Verifying calls nothing.
const { webhooks } = new Linq({ apiKey: process.env.LINQ_API_V3_API_KEY ?? "unused" });

// The ids of the last events that were handled, and of those that are being handled now. They are in memory: gone after a
// restart, and each process has its own. To have each event once whatever happens, keep the id in your database instead,
// as the primary key of a table, written in the same transaction as what the event changes.
const handled = new Set();
const running = new Set();

// Do your work here; throw an error to get the event again.
async function handle(id, event) {
  console.log("handled", id, event.event_type);
}

const app = express();
app.disable("x-powered-by");

// `raw`: the signature is about the bytes of the body, not about the JSON in them. No other parser may come before it.
app.post("/webhooks/linq", express.raw({ type: () => true, limit: "10mb" }), async (request, response) => {
  const event = verified(request, response);
  if (!event) return;
  const id = request.headers["webhook-id"];
  if (handled.has(id)) return response.sendStatus(204);
  // The relay did not wait for the first response; let it ask again.
  if (running.has(id)) return response.status(503).json({ error: "this event is being handled" });
  running.add(id);
  try {
    await handle(id, event);
  } finally {
    running.delete(id);
  }
  handled.add(id);
  if (handled.size > MAX_HANDLED) handled.delete(handled.values().next().value);
  response.sendStatus(204);
});

// 5xx for an error of `handle`, so that the relay sends the event again; 413 for a body that is too large.
app.use((error, request, response, next) => {
  console.error("failed", request.headers["webhook-id"], error);
  if (response.headersSent) return next(error);
  response.status(error.status ?? 500).json({ error: error.expose ? error.message : "failed" });
});

// Returns the event if one of the secrets signed it in the last five minutes; refuses it otherwise.
function verified(request, response) {
  const body = Buffer.isBuffer(request.body) ? request.body.toString("utf8") : "";
  let reason;
  for (const key of secrets) {
    try {
      // Without `headers`, unwrap parses the body and verifies nothing.
      const event = webhooks.unwrap(body, { headers: request.headers, key });
      if (event?.event_type) return event;
      response.status(400).json({ error: "not an event of Linq: it has no event_type" });
      return undefined;
    } catch (error) {
      if (error instanceof SyntaxError) {
        response.status(400).json({ error: `not JSON: ${error.message}` }); // signed, so no other secret will help
        return undefined;
      }
      reason = error.message;
    }
  }
  response.status(401).json({ error: `not signed by the relay: ${reason}` });
  return undefined;
}

const server = app.listen(Number(process.env.PORT ?? 9000), process.env.HOST ?? "127.0.0.1");
process.on("SIGTERM", () => {
  server.close(() => process.exit(0)); // after the responses that are due
  server.closeIdleConnections();
});
