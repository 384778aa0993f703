// Serves aimock.json with the package that lies in the folder named first, on the port named second.
import { pathToFileURL } from "node:url";
import path from "node:path";

const [folder, port] = process.argv.slice(2);
const home = path.join(folder, "node_modules/@copilotkit/aimock/dist/index.js");
const { LLMock } = await import(pathToFileURL(home));
const mock = new LLMock({ port: Number(port), strict: true, logLevel: "warn" });
mock.loadFixtureFile(path.join(import.meta.dirname, "aimock.json"));
mock.onRerank(/capital/, [
  { index: 2, relevance_score: 0.9 },
  { index: 0, relevance_score: 0.25 },
]);
await mock.start();
