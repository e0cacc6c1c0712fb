import type { Msg, Subscription } from "@nats-io/nats-core";
import { isNoResponders, type Link } from "../link/link.js";
import { createSecret } from "../link/secret.js";
import { importedReply } from "../message/frame.js";
import { Header, HeaderBlock, wholeNumber } from "../message/header.js";
import type { ServiceBinding } from "../schema/binding.js";
import { sendHeartbeat } from "./heartbeat.js";

/**
 * Bytes of responses that a client may have to read: the server keeps them for it, and
 * cuts its connection above `max_pending`, 64 MB by default.
 */
const windowBytes = 1024 * 1024;

/** Bytes after which a client is asked whether it has read them: each answer costs two messages. */
const askBytes = 256 * 1024;

/** Bytes of all clients after which it is seen whose they are. */
const lookBytes = 64 * 1024;

/** Bytes that wait for a client that reads nothing: above that the server may cut it off. */
const mostHeld = 64 * 1024 * 1024;

/** Beats after which that is so. */
const stuckBeats = 30;

/** Beats after which a client that has never said that it reads is taken for one that never does. */
const deafBeats = 5;

/** Beats after which a client is asked again. */
const retryBeats = 2;

/** Beats for which a client that owes an answer is remembered. */
const forgetBeats = 60;

interface Response {
  readonly reply: string;
  readonly payload: Uint8Array;
  readonly headers: HeaderBlock | undefined;
  /** Bytes that it takes of the window. */
  readonly bytes: number;
  /** Beats since its caller was sent something. */
  quiet: number;
}

interface Client {
  /** The beginning of the subjects of its replies. */
  readonly key: string;
  readonly secret: string;
  /** Bytes that were sent to it, those that it was asked for, and those that it has read. */
  sent: number;
  asked: number;
  read: number;
  /** True when it has said that it reads. */
  answers: boolean;
  /** True when it never will. */
  isDeaf: boolean;
  /** Beats since it said something. */
  silent: number;
  readonly waiting: Response[];
  /** Bytes of what waits. */
  held: number;
}

/**
 * Sends the responses of a worker's unary calls, to each client no more than it reads:
 * now and then a response asks for an acknowledgement, and what would be too much before
 * that has come waits here.
 *
 * A response costs an addition and a comparison: what was sent to all clients since the
 * last look is put down to the client of the response that makes it much. For those of a
 * client that are many, or large, that comes to the same.
 */
export class Responses {
  private readonly clients = new Map<string, Client>();
  private readonly bySecret = new Map<string, Client>();
  private unmeasured = 0;
  /** How much may be sent before a look; 0 while something waits. */
  private measureAt = lookBytes;
  /** How many responses wait. */
  private count = 0;
  private subscription: Subscription | undefined;
  private isDenied = false;
  private onIdle: (() => void) | undefined;
  private stopListening: (() => void) | undefined;
  private readonly beat = () => this.tick();

  constructor(
    private readonly link: Link,
    private readonly service: ServiceBinding,
    private readonly session: string,
  ) {}

  send(reply: string, payload: Uint8Array, headers: HeaderBlock | undefined): void {
    this.unmeasured += payload.length;
    if (headers) {
      this.unmeasured += headers.length;
    }
    if (this.unmeasured < this.measureAt) {
      this.publish(reply, payload, headers);
    } else {
      this.measure(reply, payload, headers);
    }
  }

  /** A caller has left: what waits for it is not sent. */
  drop(reply: string): void {
    for (const client of this.count > 0 ? this.clients.values() : []) {
      const index = client.waiting.findIndex((response) => response.reply === reply);
      if (index >= 0) {
        this.remove(client, index);
      }
    }
    this.settle();
  }

  /** Waits until nothing waits, and listens no more. */
  async idle(): Promise<void> {
    if (this.count > 0) {
      await new Promise<void>((resolve) => {
        this.onIdle = resolve;
      });
    }
    this.link.pulse.remove(this.beat);
    this.stopListening?.();
    this.subscription?.unsubscribe();
  }

  /** Sends what waits, whatever becomes of it. */
  release(): void {
    for (const client of this.clients.values()) {
      client.isDeaf = true;
      this.serve(client);
    }
  }

  private measure(reply: string, payload: Uint8Array, headers: HeaderBlock | undefined): void {
    const bytes = this.unmeasured;
    this.unmeasured = 0;
    const client = this.clientOf(reply);
    if (!client || client.isDeaf) {
      this.publish(reply, payload, headers);
      return;
    }
    if (client.waiting.length === 0) {
      client.silent = 0;
    }
    client.waiting.push({ reply, payload, headers, bytes, quiet: 0 });
    client.held += bytes;
    this.count++;
    this.serve(client);
  }

  private remove(client: Client, index: number): Response {
    const [response] = client.waiting.splice(index, 1) as [Response];
    client.held -= response.bytes;
    this.count--;
    return response;
  }

  private forget(client: Client): void {
    this.count -= client.waiting.length;
    this.clients.delete(client.key);
    this.bySecret.delete(client.secret);
    this.settle();
  }

  /** Whom a reply goes to; undefined for who does not say what it reads. */
  private clientOf(reply: string): Client | undefined {
    const [, key] = /^(.+)\.[\w-]{22}\.\d+$/.exec(reply) ?? [];
    if (key === undefined || this.isDenied || reply.startsWith(importedReply)) {
      return undefined;
    }
    let client = this.clients.get(key);
    if (!client) {
      this.listen();
      client = {
        key,
        secret: createSecret(),
        sent: 0,
        asked: 0,
        read: 0,
        answers: false,
        isDeaf: false,
        silent: 0,
        waiting: [],
        held: 0,
      };
      this.clients.set(key, client);
      this.bySecret.set(client.secret, client);
    }
    this.link.pulse.start();
    return client;
  }

  private listen(): void {
    if (this.subscription) {
      return;
    }
    this.link.pulse.add(this.beat);
    this.stopListening = this.link.onReconnect(() => {
      // Messages that a server kept for a client are gone, and so are its acknowledgements.
      for (const client of this.clients.values()) {
        this.hasRead(client, client.sent);
      }
    });
    this.subscription = this.link.subscribe(
      `${this.service.ackSubject}.${this.session}.>`,
      (message) => this.acknowledged(message),
      {
        // It was not asked for before: clients are sent all, as they were then.
        onDenied: () => {
          this.isDenied = true;
          this.release();
        },
      },
    );
  }

  private acknowledged(message: Msg): void {
    const [secret, number] = message.subject.split(".").slice(-2);
    const client = this.bySecret.get(secret ?? "");
    const bytes = wholeNumber(number);
    if (!client || bytes === undefined) {
      return;
    }
    if (isNoResponders(message)) {
      // It is gone.
      this.forget(client);
      return;
    }
    client.answers = true;
    client.isDeaf = false;
    this.hasRead(client, Math.min(bytes, client.sent));
  }

  private hasRead(client: Client, bytes: number): void {
    client.silent = 0;
    client.read = Math.max(client.read, bytes);
    this.serve(client);
  }

  /** Sends what there is room for. */
  private serve(client: Client): void {
    while (
      client.waiting.length > 0 &&
      (client.isDeaf || client.sent - client.read < windowBytes)
    ) {
      this.sendTo(client, this.remove(client, 0));
    }
    this.settle();
  }

  private sendTo(client: Client, { reply, payload, headers, bytes }: Response): void {
    client.sent += bytes;
    const isFull = client.sent - client.read >= windowBytes;
    if (client.isDeaf || (client.sent - client.asked < askBytes && !isFull)) {
      this.publish(reply, payload, headers);
      return;
    }
    client.asked = client.sent;
    const asking = new HeaderBlock().add(Header.ack, client.sent).append(headers);
    const { ackSubject } = this.service;
    const answer = `${ackSubject}.${this.session}.${client.secret}.${client.sent}`;
    this.publish(reply, payload, asking, answer);
  }

  private publish(
    reply: string,
    payload: Uint8Array,
    headers: HeaderBlock | undefined,
    answer?: string,
  ): void {
    this.link.publish(
      reply,
      payload,
      headers && { headers: headers.asHeaders(), ...(answer && { reply: answer }) },
    );
  }

  /** Sees whether something waits. */
  private settle(): void {
    this.measureAt = this.count > 0 ? 0 : lookBytes;
    if (this.count === 0) {
      this.onIdle?.();
    }
  }

  private tick(): boolean {
    for (const client of this.clients.values()) {
      const { waiting, answers } = client;
      client.silent++;
      for (const response of waiting) {
        if (sendHeartbeat(this.link, response.reply, ++response.quiet)) {
          response.quiet = 0;
        }
      }
      if (waiting.length === 0) {
        if (client.sent === client.read || client.silent > forgetBeats) {
          this.forget(client);
        }
      } else if (client.silent >= stuckBeats && client.held > mostHeld) {
        client.isDeaf = true;
        this.serve(client);
      } else if (client.silent % (answers ? retryBeats : deafBeats) === 0) {
        // The response that asked was one of a call that had ended: the next one asks again.
        client.isDeaf = !answers;
        this.sendTo(client, this.remove(client, 0));
        this.serve(client);
      }
    }
    return this.clients.size > 0;
  }
}
