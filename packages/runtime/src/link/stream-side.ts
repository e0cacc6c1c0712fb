import { Code, ConnectError } from "@connectrpc/connect";
import type { Msg } from "@nats-io/nats-core";
import { causedError } from "../message/caused-error.js";
import { controlHeaders, heartbeatSuffix, maxFrameBytes, parseControl } from "../message/frame.js";
import type { HeaderBlock } from "../message/header.js";
import { defectOf } from "../message/readable.js";
import { Inflow, type InflowOptions } from "./inflow.js";
import type { Link } from "./link.js";
import { Outflow } from "./outflow.js";
import { quietBeats, silentBeats } from "./pulse.js";

const nothing = new Uint8Array(0);

/**
 * The part that both sides of a direct stream share: messages come in and go out,
 * and each side shows the other that it is alive.
 */
export abstract class StreamSide<In> {
  readonly inflow: Inflow<In>;
  readonly outflow: Outflow;
  /** Subject that the other side listens on; undefined until it is known. */
  protected peer: string | undefined;
  private quiet = 0;
  private silent = 0;

  constructor(
    protected readonly link: Link,
    inflow: Pick<InflowOptions<In>, "decode" | "malformed" | "onReturn" | "readMaxBytes">,
  ) {
    this.inflow = new Inflow({
      ...inflow,
      grant: (bytes) => this.publish(nothing, controlHeaders("credit", bytes)),
      onBroken: (error) => this.broken(error),
    });
    this.outflow = new Outflow(
      (frame) => this.publishFrame(frame),
      Math.min(maxFrameBytes, link.maxPayload),
    );
  }

  /** Subject that this side listens on. */
  protected abstract get own(): string;

  /** The other side is gone. */
  protected abstract lost(error: ConnectError): void;

  /** The other side sends what cannot be read. */
  protected abstract broken(error: ConnectError): void;

  /** Takes a frame of any kind. */
  protected abstract receiveControl(message: Msg, control: ReturnType<typeof parseControl>): void;

  receive(message: Msg): void {
    this.silent = 0;
    if (!message.headers) {
      this.inflow.receive(message.data);
      return;
    }
    const defect = defectOf(message);
    if (defect) {
      this.inflow.refuse(`a frame of the stream cannot be read: ${defect}`);
      return;
    }
    const control = parseControl(message);
    if (control?.kind === "credit") {
      this.outflow.grant(control.bytes);
    } else {
      this.receiveControl(message, control);
    }
  }

  /** The other side sent a heartbeat. */
  heard(): void {
    this.silent = 0;
  }

  /** A second has passed. */
  tick(): void {
    if (++this.silent > silentBeats) {
      this.lost(
        new ConnectError(
          `the other side of the stream has been silent for ${silentBeats} s: its process or its network is gone`,
          Code.Unavailable,
        ),
      );
    } else if (++this.quiet >= quietBeats && this.peer && this.link.connected) {
      this.quiet = 0;
      // Where nobody listens any more, the server says so to the reply subject.
      this.link.publish(this.peer + heartbeatSuffix, nothing, { reply: this.own });
    }
  }

  /** Sends a frame to the other side. */
  protected publish(payload: Uint8Array, headers?: HeaderBlock, reply?: string): void {
    if (!this.peer || !this.link.connected) {
      // Lost: whoever waits is told so by the link.
      return;
    }
    this.quiet = 0;
    this.link.publish(
      this.peer,
      payload,
      headers ? { headers: headers.asHeaders(), ...(reply && { reply }) } : undefined,
    );
  }

  /** Sends a data frame. Never throws: most are sent when a turn is over. */
  private publishFrame(frame: Uint8Array): void {
    try {
      this.publish(frame);
    } catch (cause) {
      // The server takes less than it did when the stream began.
      const text = `cannot send a frame of ${frame.length} bytes: ${String(cause)}`;
      this.broken(causedError(text, Code.Unavailable, cause));
    }
  }

  /** Sends what is queued, then the end. Throws what ended the stream meanwhile. */
  protected async publishEnd(
    complete: (headers: HeaderBlock) => Uint8Array = () => nothing,
  ): Promise<void> {
    await this.outflow.drain();
    const headers = controlHeaders("end", this.outflow.frames);
    this.publish(complete(headers), headers);
  }
}
