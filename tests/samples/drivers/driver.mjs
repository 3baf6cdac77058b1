// The sample with a handler that tests control: the chat of an event begins with what happens to it.
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Rejected, consume } from "./consumer.mjs";

await consume(async ({ id, chat, entry, deliveries }) => {
  console.log(JSON.stringify({ id, chat, entry, deliveries }));
  const [way] = chat.split("-");
  while (way === "hold" && !existsSync(process.env.RELEASE)) await sleep(20);
  if (way === "crash") process.kill(process.pid, "SIGKILL");
  if (way === "fail") throw Error("the handler failed");
  if (way === "reject") throw new Rejected("no such order");
  console.log(JSON.stringify({ done: id }));
});
