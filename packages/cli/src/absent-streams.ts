import type { Connection } from "@jetrpc/runtime";
import { bindService } from "@jetrpc/runtime/schema";
import { askJetStream } from "./doctor/jetstream.js";
import type { ServiceOperator } from "./operators.js";
import { printLog } from "./output.js";

/**
 * Says on stderr which services have no stream on the server, where nothing was found: that nothing
 * is there looks the same on another server. Credentials that may not ask learn nothing.
 */
export async function tellAbsentStreams(
  connection: Connection,
  operators: readonly Pick<ServiceOperator, "service">[],
  asJson: boolean | undefined,
): Promise<void> {
  for (const { service } of operators) {
    const { stream } = bindService(service);
    try {
      if ((await askJetStream(connection, `STREAM.INFO.${stream}`)) === undefined) {
        const text = `stream ${stream} of ${service.typeName} is not on this server: run \`jetrpc apply\` or start a worker, or this is another server, account or domain`;
        printLog(text, asJson);
      }
    } catch {
      return;
    }
  }
}
