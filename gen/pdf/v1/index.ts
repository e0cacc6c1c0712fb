export * from "./pdf_jetrpc.js";
export * from "./pdf_pb.js";
export { PdfService } from "./pdf_jetrpc.js";
