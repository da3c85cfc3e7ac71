-- One line of JSON after a run. BENCH_METHOD, BENCH_BODY and BENCH_HEADERS (lines "Name: value") shape the request.
local method, body, headers = os.getenv("BENCH_METHOD"), os.getenv("BENCH_BODY"), os.getenv("BENCH_HEADERS")
if method then wrk.method = method end
if body and body ~= "" then wrk.body = body end
for name, value in string.gmatch(headers or "", "([^:\n]+): ([^\n]+)") do
  wrk.headers[name] = value
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'REPORT {"requests":%d,"seconds":%.4f,"bytes":%d,"errors":%d,"refused":%d,"p50":%.3f,"p99":%.3f}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, e.connect + e.read + e.write + e.timeout, e.status,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
