import type { CallName } from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { pathWith } from "./location.js";

export const methodPath = (service: string, method: string) =>
  pathWith("/method", { service, method });

export const callPath = ({ service, method, owner, callId }: CallName) =>
  pathWith("/call", { service, method, owner: owner === "_" ? "" : owner, id: callId });

/** `pdf.v1.PdfService.Split` as `PdfService.Split`. */
export const shortService = (service: string) => service.slice(service.lastIndexOf(".") + 1);
