import { join } from "node:path";
import type { DescMessage } from "@bufbuild/protobuf";
import { compile, npmPackage, repositoryProtos } from "../test/protos.js";

/** A message that is measured: what it is made from, by type. */
export interface Sample {
  readonly name: string;
  readonly schema: DescMessage;
  readonly init: Record<string, unknown>;
  /** Whether it is nearly all one field, whose bytes are copied whoever writes it. */
  readonly isBulk?: true;
}

const own = compile(join(import.meta.dirname, "proto"));
const google = compile(
  npmPackage("google-proto-files@5.0.3"),
  "google/pubsub/v1/pubsub.proto",
  "google/cloud/vision/v1/image_annotator.proto",
);
const repository = repositoryProtos();

function type(name: string): DescMessage {
  const found = [own, google, repository].flatMap((registry) => registry.getMessage(name) ?? [])[0];
  if (!found) {
    throw new Error(`no message ${name}`);
  }
  return found;
}

const times = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));

const address = {
  name: "Ada Lovelace",
  street: "12 St James's Square",
  city: "London",
  postalCode: "SW1Y 4JH",
  country: "GB",
};

const order = {
  id: "order-2026-000417",
  customerId: "customer-99120",
  email: "ada@example.com",
  currency: "GBP",
  totalCents: 129_900n,
  taxCents: 21_650n,
  state: 1,
  shipping: address,
  billing: { ...address, street: "Marylebone Road 7", city: "Zürich" },
  lines: times(3, (i) => ({
    sku: `sku-${i}-4417`,
    title: "Analytical engine, brass",
    count: i + 1,
    priceCents: 43_300n,
  })),
  labels: { channel: "web", campaign: "spring", region: "emea" },
  created: { seconds: 1_790_000_000n, nanos: 123_000_000 },
  updated: { seconds: 1_790_000_500n, nanos: 7_000_000 },
  coupons: ["WELCOME10", "FREESHIP"],
  gift: true,
  note: "Please ring twice.",
  weightKg: 12.75,
  revision: 4,
  signature: new Uint8Array(32).fill(7),
  payment: { case: "cardToken", value: "tok_1NirD82eZvKYlo2C" },
  parcelIds: [1001, 1002, 1003],
};

const pubsubMessage = (i: number) => ({
  data: new Uint8Array(200).fill(i),
  attributes: { origin: "sensor-17", kind: "reading", version: "2" },
  messageId: `1081743${i}`,
  publishTime: { seconds: 1_790_000_000n, nanos: 500_000 },
  orderingKey: "sensor-17",
});

const poly = (x: number) => ({
  vertices: times(4, (i) => ({ x: x + i * 10, y: x + 3 + i * 7 })),
});

const word = (i: number) => ({
  property: { detectedLanguages: [{ languageCode: "en", confidence: 0.98 }] },
  boundingBox: poly(i * 20),
  symbols: [..."engine"].map((text, at) => ({
    text,
    confidence: 0.97,
    boundingBox: poly(i * 20 + at),
  })),
  confidence: 0.96,
});

const attribute = (key: string, value: Record<string, unknown>) => ({ key, value: { value } });

const span = (i: number) => ({
  traceId: new Uint8Array(16).fill(0x5b),
  spanId: new Uint8Array(8).fill(i + 1),
  parentSpanId: new Uint8Array(8).fill(i),
  name: "GET /orders/{id}",
  kind: 2,
  startTimeUnixNano: 1_790_000_000_000_000_000n,
  endTimeUnixNano: 1_790_000_000_012_345_678n,
  attributes: [
    attribute("http.request.method", { case: "stringValue", value: "GET" }),
    attribute("http.response.status_code", { case: "intValue", value: 200n }),
    attribute("url.path", { case: "stringValue", value: "/orders/417" }),
    attribute("server.port", { case: "intValue", value: 8443n }),
    attribute("cache.hit", { case: "boolValue", value: true }),
  ],
  events: [{ timeUnixNano: 1_790_000_000_001_000_000n, name: "cache miss", attributes: [] }],
  status: { code: 1 },
});

export const samples: readonly Sample[] = [
  { name: "a greeting", schema: type("shop.v1.Greeting"), init: { person: { name: "Ada" } } },
  { name: "an order", schema: type("shop.v1.Order"), init: order },
  {
    name: "Pub/Sub PublishRequest",
    schema: type("google.pubsub.v1.PublishRequest"),
    init: { topic: "projects/p/topics/readings", messages: times(5, pubsubMessage) },
  },
  {
    name: "Vision AnnotateImageResponse",
    schema: type("google.cloud.vision.v1.AnnotateImageResponse"),
    init: {
      labelAnnotations: times(10, (i) => ({
        mid: `/m/0${i}k4j`,
        description: "Mechanical calculator",
        score: 0.9,
        topicality: 0.9,
      })),
      faceAnnotations: times(2, (i) => ({
        boundingPoly: poly(i),
        landmarks: times(12, (at) => ({ type: at, position: { x: at + 0.5, y: 12.25, z: -1.5 } })),
        rollAngle: 1.5,
        detectionConfidence: 0.99,
        joyLikelihood: 5,
        angerLikelihood: 1,
      })),
      fullTextAnnotation: {
        text: "engine engine engine engine",
        pages: [
          {
            width: 800,
            height: 600,
            blocks: [{ paragraphs: [{ words: times(4, word), boundingBox: poly(5) }] }],
          },
        ],
      },
    },
  },
  {
    name: "OpenTelemetry TracesData",
    schema: type("opentelemetry.proto.trace.v1.TracesData"),
    init: {
      resourceSpans: [
        {
          resource: {
            attributes: [
              attribute("service.name", { case: "stringValue", value: "orders" }),
              attribute("host.name", { case: "stringValue", value: "node-7" }),
            ],
          },
          scopeSpans: [{ scope: { name: "http", version: "1.2.0" }, spans: times(10, span) }],
        },
      ],
    },
  },
  {
    name: "PDF GetInfoResponse",
    schema: type("pdf.v1.GetInfoResponse"),
    init: {
      pageCount: 12,
      pages: times(12, () => ({ width: 595.276, height: 841.89 })),
      title: "Sketch of the Analytical Engine",
      author: "L. F. Menabrea",
      producer: "pdfTeX-1.40.25",
      pdfVersion: "1.7",
    },
  },
  {
    name: "PDF ExtractTextResponse",
    isBulk: true,
    schema: type("pdf.v1.ExtractTextResponse"),
    init: { page: 3, text: "The engine weaves algebraical patterns. ".repeat(50) },
  },
  {
    name: "PDF ExtractTextRequest, 64 KB",
    isBulk: true,
    schema: type("pdf.v1.ExtractTextRequest"),
    init: { document: new Uint8Array(65_536).fill(9), pages: [{ first: 1, last: 9 }] },
  },
  {
    name: "PDF RenderPagesResponse, 512 KB",
    isBulk: true,
    schema: type("pdf.v1.RenderPagesResponse"),
    init: { page: 1, image: new Uint8Array(524_288).fill(9), format: 1, width: 1654, height: 2339 },
  },
];
