import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Connection, listServices, type ServiceInfo } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { createImageClient, type ImageClient, ImageFormat } from "@jetrpc-examples/image-v1-client";
import { connect as connectRaw, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { startWorker, type WorkerProcess } from "../examples/pdf-demo/worker-process.js";

// A process with models starts in seconds, and on a busy machine in a minute.
vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 });

/** One contract and two worker processes: one serves the methods without a model, one those with. */
let nats: NatsServer;
let raw: NatsConnection;
let connection: Connection;
let image: ImageClient;
let pixels: WorkerProcess;
let models: WorkerProcess;

const picture = readFileSync(join(import.meta.dirname, "../services/image/fixtures/scan.jpg"));

function start(methods: "pixels" | "models"): Promise<WorkerProcess> {
  const env = {
    IMAGE_METHODS: methods,
    IMAGE_DEVICE: "cpu",
    IMAGE_PROCESSES: "1",
    // On a busy machine a line of text takes long, and a model that does not hang seems to.
    IMAGE_TIMEOUT_MS: "600000",
  };
  return startWorker(nats.url, { service: "image", env });
}

beforeAll(async () => {
  nats = await startNats();
  [pixels, models] = await Promise.all([start("pixels"), start("models")]);
  connection = await connect({ nats: { servers: nats.url } });
  image = createImageClient(connection);
  raw = await connectRaw({ servers: nats.url });
});

afterAll(async () => {
  await connection?.close();
  await raw?.close();
  await models?.[Symbol.asyncDispose]();
  await pixels?.[Symbol.asyncDispose]();
  await nats?.stop();
});

const pixelMethods = ["GetInfo", "Thumbnail", "Convert"];
const modelMethods = ["ReadText", "Upscale"];

/** Both workers as discovery shows them, that without models first. */
async function discovered(): Promise<[ServiceInfo, ServiceInfo]> {
  for (;;) {
    const services = await listServices(connection);
    const of = (method: string) =>
      services.find(({ methods }) => methods.some(({ name }) => name === method));
    const both = [of("GetInfo"), of("ReadText")] as const;
    if (both[0] && both[1]) {
      return [both[0], both[1]];
    }
  }
}

/** How often a worker was asked for each of its methods. */
async function requests({ id }: ServiceInfo): Promise<Record<string, number>> {
  const subject = `$SRV.STATS.image_v1_ImageService.${id}`;
  const reply = await raw.request(subject, "", { timeout: 60_000 });
  const { endpoints } = reply.json<{ endpoints: { name: string; num_requests: number }[] }>();
  return Object.fromEntries(endpoints.map(({ name, num_requests }) => [name, num_requests]));
}

function convert() {
  return image.convert.submit({ image: picture, format: ImageFormat.WEBP, width: 100 });
}

/** Reads the picture, and does something when its second line is there. Gives the attempts. */
async function readMeanwhile(act: () => Promise<unknown>): Promise<number> {
  const call = await image.readText.submit({ image: picture });
  const lines: number[] = [];
  for await (const { line } of call) {
    lines.push(line);
    if (line === 2) {
      await act();
    }
  }
  expect(lines).toEqual([1, 2, 3, 4, 5, 6, 7]);
  return (await call.status()).attempts.length;
}

test("each tells what it serves and on what device, and gets the calls of its methods", async () => {
  const [one, two] = await discovered();
  expect(one.methods.map(({ name }) => name)).toEqual(pixelMethods);
  expect(two.methods.map(({ name }) => name)).toEqual(modelMethods);
  expect([one.version, two.version]).toEqual(["0.1.0", "0.1.0+cpu"]);
  await image.getInfo({ image: picture });
  await image.thumbnail({ image: picture });
  const call = await convert();
  expect(await readMeanwhile(() => call.result())).toBe(1);
  expect(await requests(one)).toEqual({ GetInfo: 1, Thumbnail: 1, Convert: 1 });
  expect(await requests(two)).toEqual({ ReadText: 1, Upscale: 0 });
});

test.each([
  ["is drained", () => pixels[Symbol.asyncDispose]()],
  ["is killed", () => pixels.kill()],
])("the one without models %s, and a call of a model goes on", async (_, stop) => {
  await image.getInfo({ image: picture });
  const attempts = await readMeanwhile(async () => {
    await stop();
    // Nobody else takes its calls: a direct one fails, and a durable one waits.
    await expect(image.getInfo({ image: picture })).rejects.toThrow("[unavailable]");
  });
  expect(attempts).toBe(1);
  const call = await convert();
  pixels = await start("pixels");
  expect(await call.result()).toMatchObject({ format: ImageFormat.WEBP });
});

test("the one with models is killed, and calls without one go on", async () => {
  const attempts = await readMeanwhile(async () => {
    await models.kill();
    expect(await (await convert()).result()).toMatchObject({ format: ImageFormat.WEBP });
    expect((await image.getInfo({ image: picture })).format).toBe(ImageFormat.JPEG);
    models = await start("models");
  });
  // Its own call goes on with the next one.
  expect(attempts).toBe(2);
});

test("the one with models is drained, and calls without one go on", async () => {
  const call = await convert();
  const stopped = models[Symbol.asyncDispose]();
  expect((await image.getInfo({ image: picture })).format).toBe(ImageFormat.JPEG);
  await call.result();
  await stopped;
  expect((await call.status()).attempts).toHaveLength(1);
  expect(await (await convert()).result()).toMatchObject({ format: ImageFormat.WEBP });
});
