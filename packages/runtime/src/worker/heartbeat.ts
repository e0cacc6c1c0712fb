import type { Link } from "../link/link.js";
import { quietBeats } from "../link/pulse.js";
import { controlHeaders, heartbeatSuffix, importedReply } from "../message/frame.js";

const nothing = new Uint8Array(0);

/** Late, as an import of a single response ends with the first one; and in time for the caller. */
const importedQuietBeats = 4;

/** Shows the caller of a request that it is not lost, after so many beats without a message. */
export function sendHeartbeat(link: Link, reply: string, quiet: number): boolean {
  const isImported = reply.startsWith(importedReply);
  if (quiet < (isImported ? importedQuietBeats : quietBeats) || !link.connected) {
    return false;
  }
  if (isImported) {
    // A service import passes on what comes to the reply subject, and nothing below it.
    link.publish(reply, nothing, { headers: controlHeaders("heartbeat").asHeaders() });
  } else {
    link.publish(reply + heartbeatSuffix, nothing);
  }
  return true;
}
