import { once } from "node:events";
import { connect, createServer } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { TcpProxy } from "../src/tcp-proxy.js";

test("what is delayed arrives before what comes later, however the delay changes", async () => {
  const heard: string[] = [];
  const server = createServer((socket) => {
    socket.setEncoding("utf8").on("data", (text: string) => heard.push(text));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const proxy = await TcpProxy.start((server.address() as { port: number }).port);
  const client = connect(proxy.port, "127.0.0.1").setNoDelay(true);
  onTestFinished(() => {
    client.destroy();
    proxy.close();
    server.close();
  });
  await once(client, "connect");
  // Each is read by the proxy before the delay changes.
  const send = async (text: string) => {
    client.write(text);
    await new Promise((resolve) => setTimeout(resolve, 50));
  };
  proxy.slow(400);
  await send("one ");
  proxy.slow(20);
  await send("two ");
  proxy.mend();
  await send("three");
  await expect.poll(() => heard.join("").length).toBe("one two three".length);
  expect(heard.join("")).toBe("one two three");
});
