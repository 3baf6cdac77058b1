// The sample with a handler that tests control: the chat of an event says what happens to it.
import { setTimeout as sleep } from "node:timers/promises";
import { Rejected, consume } from "./consumer.mjs";

await consume(async ({ id, chat, entry, deliveries }) => {
  console.log(JSON.stringify({ id, chat, entry, deliveries }));
  const [what, ms] = chat.split(":");
  if (what === "slow") await sleep(Number(ms));
  if (what === "crash") process.kill(process.pid, "SIGKILL");
  if (what === "fail") throw Error("the handler failed");
  if (what === "reject") throw new Rejected("no such order");
  console.log(JSON.stringify({ done: id }));
});
