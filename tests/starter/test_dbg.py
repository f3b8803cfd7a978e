import asyncio, json, time
from tests.starter.conftest import *
from temporalio.common import WorkflowIDConflictPolicy
import structlog
N=400; C=16
async def run(f, ids):
    sem=asyncio.Semaphore(C)
    async def one(i):
        async with sem: await f(i)
    t=time.perf_counter(); await asyncio.gather(*(one(i) for i in ids)); return N/(time.perf_counter()-t)
async def test_x(temporal_env, sqlite_databases):
    client=temporal_env.client
    url=sqlite_databases.ready(); ledger=Ledger.open(url)
    settings=Settings(database_url=url, stripe_webhook_secret="whsec_test")
    import starter.webhooks.receiver as r
    r.TASK_QUEUE="bench-nobody"
    import io; from starter.logs import configure; configure("INFO", io.StringIO())
    app=create_app(settings, client, ledger)
    http=app_client(app)
    async def bare(i):
        await client.start_workflow("InvoiceDunning", {"invoice_id":f"in_{i}"}, id=f"bare/{i}", task_queue="bench-nobody", start_signal="billing_event", start_signal_args=[{"type":"x","id":"evt"}], id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING)
    def body(i):
        return json.dumps({"id":f"evt_{i}","object":"event","type":"invoice.payment_failed","created":1793523600,"data":{"object":{"id":f"in_{i}","billing_reason":"subscription_cycle","lines":{"data":[{"a":"b"*50}]*20}}}})
    async def hook(i):
        b=body(i)
        a=await http.post("/webhooks/stripe", content=b.encode(), headers={"Stripe-Signature": stripe.WebhookSignature.generate_signature_header(b,"whsec_test")})
        assert a.status_code==200, a.text
    async def look(i):
        await ledger.cases.by_invoice("", f"in_{i}")
    k=0
    for rnd in range(4):
        a=await run(bare, range(k,k+N)); 
        b=await run(hook, range(k,k+N)); k+=N
        c=await run(look, range(k,k+N))
        print("RES", rnd, round(a), round(b), round(b/a,2), "look", round(c))
    await ledger.close()
