// Sends messages of every kind by a Node library of Segment or RudderStack: LIBRARY HOST WRITE_KEY ROUNDS.
// It says `half` when half of them are handed over and goes on when it is answered; its exit status is 0 when the
// library has given up none.

import { once } from "node:events";

const [name, host, key, text] = process.argv.slice(2);
const rounds = Number(text);
const failed = [];

async function segment() {
  const { Analytics } = await import("@segment/analytics-node");
  const client = new Analytics({ writeKey: key, host, flushAt: 7, flushInterval: 50, maxRetries: 60 });
  return { client, end: () => client.closeAndFlush({ timeout: 120_000 }) };
}

async function rudder() {
  const { default: Rudder } = await import("@rudderstack/rudder-sdk-node");
  const retries = { retryDelay: () => 250 };
  const options = { dataPlaneUrl: host, flushAt: 7, retryCount: 400, axiosRetryConfig: retries, logLevel: "none" };
  const client = new Rudder(key, options);
  const end = async () => {
    while (client.queue.length) await client.flush();
  };
  return { client, end };
}

const { client, end } = await (name === "rudder" ? rudder() : segment());
let unanswered = 0;
for (let number = 0; number < rounds; number++) {
  if (number === rounds >> 1) {
    console.log("half");
    await once(process.stdin, "data");
  }
  const userId = `user-${number % 5}`;
  const url = `https://shop.example/p/${number}`;
  const call = (kind, members) => {
    unanswered++;
    client[kind]({ userId, messageId: `${name}-node-${kind}-${number}`, ...members }, (error) => {
      unanswered--;
      if (error) failed.push(error);
    });
  };
  const context = { ip: "198.51.100.7", page: { url } };
  call("track", { event: "Order Completed", properties: { total: number, products: [{ sku: "x" }] }, context });
  call("page", { category: "docs", name: "Index", properties: { url } });
  call("screen", { category: "app", name: "Cart", anonymousId: "visitor" });
  call("identify", { traits: { plan: "pro" } });
  call("group", { groupId: "group-1", traits: { seats: number } });
  call("alias", { previousId: "visitor" });
}
console.log("all");
await end();
process.stdin.destroy(); // it ends when nothing is under way any more
process.on("exit", () => {
  if (failed.length || unanswered) console.error(unanswered, "unanswered", failed);
  process.exitCode = failed.length || unanswered ? 1 : 0;
});
