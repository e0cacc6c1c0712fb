import { Code, ConnectError } from "@connectrpc/connect";
import { quote } from "./header.js";

/** Content type of a message in protobuf's JSON mapping. */
export const jsonType = "application/json";

/** How a message is written: both are protobuf's own. */
export type Encoding = "binary" | "json";

/** The encoding that a content type names. Throws InvalidArgument for one that is not known. */
export function encodingOf(contentType: string): Encoding {
  if (contentType === "") {
    return "binary";
  }
  const [type = ""] = contentType.toLowerCase().split(";");
  switch (type.trim()) {
    case "":
    case "application/protobuf":
    case "application/proto":
    case "application/x-protobuf":
      return "binary";
    case jsonType:
      return "json";
    default:
      throw new ConnectError(
        `content type ${quote(contentType)} is not known: send ${jsonType} or application/protobuf`,
        Code.InvalidArgument,
      );
  }
}
