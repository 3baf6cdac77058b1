// A member in Node, on the sample consumer: tells what it begins and ends on its output.
import { writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { consume } from "./consumer.mjs";

const poison = Number(process.env.SOAK_POISON_EVERY);
const slow = Number(process.env.SOAK_SLOW_EVERY);
const third = (every, count) => Math.floor((count * every) / 3);

// A line that is whole, and there at once, whatever happens next.
const tell = (...words) => writeSync(1, `${words.join(" ")}\n`);

// Treats an event by its number (tests/soak/options.py).
await consume(async ({ id, entry, deliveries }) => {
  const number = Number(id.slice(id.lastIndexOf("-") + 1));
  tell("begun", id, entry, deliveries);
  if (poison && number % poison === third(poison, 2)) process.kill(process.pid, "SIGKILL");
  if (poison && number % poison === third(poison, 1)) {
    tell("failed", id);
    throw Error("this event cannot be handled");
  }
  const isSlow = slow && number % slow === Math.floor(slow / 2);
  await sleep(1000 * Number(isSlow ? process.env.SOAK_SLOW_SECONDS : process.env.SOAK_SECONDS));
  tell("done", id);
});
