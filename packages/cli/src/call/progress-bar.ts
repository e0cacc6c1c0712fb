import type { Progress } from "@jetrpc/runtime";
import { type Host, host, isScreen } from "../host.js";
import { oneLine } from "../output.js";

const cells = 24;

/** Shows on a terminal how far a call is, in its last line, where a person waits. */
export class ProgressBar {
  private shown = "";

  constructor(private readonly to: Host["stderr"] = host().stderr) {}

  /** True when a person may see it. */
  get isShown(): boolean {
    return isScreen(this.to);
  }

  show(progress: Pick<Progress, "done" | "total" | "message">): void {
    const columns = this.to.columns || 80;
    if (this.isShown) {
      this.shown = barOf(progress).slice(0, columns - 1);
      this.to.write(`\r${this.shown}\x1b[K`);
    }
  }

  /** Writes something else above the bar. */
  aside(write: () => void): void {
    const { shown } = this;
    this.clear();
    write();
    if (shown !== "") {
      this.shown = shown;
      this.to.write(shown);
    }
  }

  clear(): void {
    if (this.shown !== "") {
      this.to.write("\r\x1b[K");
      this.shown = "";
    }
  }
}

/** `[######------] 50 of 100  reading`, or without a total `50  reading`. */
function barOf({ done, total, message }: Pick<Progress, "done" | "total" | "message">): string {
  const filled = Math.round(cells * Math.min(1, Math.max(0, done / total)));
  const bar = total > 0 ? `[${"#".repeat(filled)}${"-".repeat(cells - filled)}] ` : "";
  const count = total > 0 ? `${done} of ${total}` : `${done}`;
  const text = oneLine(message);
  return `${bar}${count}${text === "" ? "" : `  ${text}`}`;
}
