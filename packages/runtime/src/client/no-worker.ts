import { Code, ConnectError } from "@connectrpc/connect";
import { defaultTimeoutMs, firstInfo } from "../link/gather.js";
import type { Link } from "../link/link.js";
import { neverRan } from "../message/error-marks.js";
import { otherDelivery } from "../message/method-kind.js";
import type { MethodBinding } from "../schema/binding.js";
import { Discovery } from "../schema/micro-names.js";

/** Tells why nobody listens to the requests of a method. */
export async function explainNoWorker(link: Link, method: MethodBinding): Promise<ConnectError> {
  const { typeName } = method.service.desc;
  const { name } = method.desc;
  // A client that may not ask learns less.
  const info = await firstInfo(link, typeName, defaultTimeoutMs).catch(() => undefined);
  const methods = info?.metadata[Discovery.methods]?.split(",");
  if (methods && !methods.includes(name)) {
    const text = `workers of ${typeName} run, but their schema has no method ${name}: upgrade them`;
    return neverRan(new ConnectError(text, Code.Unimplemented));
  }
  const delivery = info?.endpoints.find((each) => each.name === name)?.metadata[Discovery.delivery];
  if (delivery && delivery !== method.delivery) {
    return neverRan(otherDelivery(method, delivery));
  }
  const others = methods ? ", though others of its methods are served" : "";
  const text = `no worker serves ${typeName}.${name}${others}: start one that implements it`;
  return neverRan(new ConnectError(text, Code.Unavailable));
}
