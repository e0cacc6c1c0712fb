import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { type ConnectRouter, createClient, type Transport } from "@connectrpc/connect";
import {
  connectNodeAdapter,
  createConnectTransport,
  createGrpcTransport,
} from "@connectrpc/connect-node";
import { BenchService } from "../gen/bench/v1/bench_pb.js";
import { type Served, streamMessages, type Way } from "../subject.js";
import { count, drain } from "./count.js";

function routes(router: ConnectRouter): void {
  router.service(BenchService, {
    echo: ({ payload }) => ({ payload }),
    echoOrder: (order) => order,
    count: ({ messages }) => count(messages),
  });
}

function listen(server: http.Server | http2.Http2Server): Promise<Served> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      resolve({ address, serverPids: [] });
    });
  });
}

/** How a service is called over HTTP. */
export interface Http {
  serve(natsUrls: string[]): Promise<Served>;
  transport(baseUrl: string): Transport;
}

export const http1: Http = {
  serve: () => listen(http.createServer(connectNodeAdapter({ routes }))),
  transport: (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" }),
};

// Node's default of 10 MB refuses 64 calls of 512 KB; grpc-js lifts it as well.
const session = { maxSessionMemory: 1000 };

const serveHttp2 = () => listen(http2.createServer(session, connectNodeAdapter({ routes })));

export const connectHttp2: Http = {
  serve: serveHttp2,
  transport: (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: "2", nodeOptions: session }),
};

export const grpc: Http = {
  serve: serveHttp2,
  transport: (baseUrl) => createGrpcTransport({ baseUrl, nodeOptions: session }),
};

/** Unary calls. */
export const unary = ({ serve, transport }: Http): Way => ({
  serve,
  async connect(_nats, address) {
    const { echo, echoOrder } = createClient(BenchService, transport(address));
    return {
      async bytes(payload) {
        await echo({ payload });
      },
      async order(order) {
        await echoOrder(order);
      },
    };
  },
});

/** Streamed responses. */
export const stream = ({ serve, transport }: Http): Way => ({
  serve,
  async connect(_nats, address) {
    const bench = createClient(BenchService, transport(address));
    return { bytes: () => drain(bench.count({ messages: streamMessages })) };
  },
});
