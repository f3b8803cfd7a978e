from tests.fixtures.engine import Engine
async def test_second(engine: Engine):
    case = await engine.case("insufficient_funds","insufficient_funds","succeeded")
    r = await case.to_the_end()
    print(r, await case.calendar())
async def test_full(engine: Engine):
    case = await engine.case("insufficient_funds",phone="+12025550143",consent=True)
    r = await case.to_the_end()
    print(r, await case.calendar())
    h=await case.handle.fetch_history(); print(len(h.events),len(h.to_json()))
    for e in await case.timeline(): print(e.at,e.what,e.text)
