// The sample with a handler that tests control: the chat of an event says what happens to it.
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Rejected, consume } from "./consumer.mjs";

await consume(async ({ id, chat, entry, deliveries }) => {
  console.log(JSON.stringify({ id, chat, entry, deliveries }));
  while (chat === "hold" && !existsSync(process.env.RELEASE)) await sleep(20);
  if (chat === "crash") process.kill(process.pid, "SIGKILL");
  if (chat === "fail") throw Error("the handler failed");
  if (chat === "reject") throw new Rejected("no such order");
  console.log(JSON.stringify({ done: id }));
});
