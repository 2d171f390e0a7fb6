"""The part of the script that is about ProtoLLM's prompts: whose they are, and their results.

    runnerd:prompt:{id}   a hash: principal, since (when the id was last used), the token of the
                          delivery that has the task, tries, reasons; result (on its way to the
                          journal), done (the token whose result it has)

A result is decided once, by the last delivery that claimed the task.  Then the journal has to have
it, and then the keys are set that ProtoLLM reads.  Clients choose ids, and some use one twice: then
what came of the earlier use does not come back when Redis is rebuilt.
"""

from __future__ import annotations

PROMPTS = """
local function prompt(id) return 'runnerd:prompt:' .. id end
-- What to set, as msgpack: keys to delete, then keys and values, then channels to announce it on.
local function put(doc, kept)
  local what, ms = cmsgpack.unpack(doc), string.format('%.0f', kept)
  for _, name in ipairs(what[1]) do redis.call('DEL', name) end
  for i = 1, #what[2], 2 do redis.call('SET', what[2][i], what[2][i + 1], 'PX', ms) end
  for _, name in ipairs(what[3]) do redis.call('PUBLISH', name, 'set') end
end
local function left(at, kept) return tonumber(kept) - (now - tonumber(at)) * 1000 end
local function keep(id, kept) redis.call('PEXPIRE', prompt(id), string.format('%.0f', kept)) end
local function forget(id)
  redis.call('HDEL', prompt(id), 'token', 'tries', 'reasons', 'result', 'at', 'done')
end

-- flight, id, principal or '', milliseconds: since when the id is its, or '' if it is another's
function commands.prompt_taking()
  local id, principal = ARGV[4], ARGV[5]
  if principal ~= '' then
    redis.call('HSETNX', prompt(id), 'principal', principal)
    if redis.call('HGET', prompt(id), 'principal') ~= principal then return '' end
  end
  if redis.call('PTTL', prompt(id)) < 0 then keep(id, ARGV[6]) end
  depart(ARGV[3])
  return stamp
end

local function take(id, principal, at, kept, doc)
  local since, ms = redis.call('HGET', prompt(id), 'since'), left(at, kept)
  if ms <= 0 or (since and tonumber(since) >= tonumber(at)) then return end
  forget(id)
  redis.call('HSET', prompt(id), 'since', at)
  if principal ~= '' then redis.call('HSET', prompt(id), 'principal', principal) end
  keep(id, ms)
  put(doc, ms)
end

function commands.prompt_take()  -- flight, id, principal or '', since, milliseconds, doc
  if not land(ARGV[3]) then return 0 end
  take(ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8])
  return 1
end

commands['prompt!'] = function() take(ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]) end

function commands.prompt_owner() return redis.call('HGET', prompt(ARGV[3]), 'principal') end

-- id, token, whether it was delivered before, milliseconds: {tries, reasons, whose};
-- {-1, token, doc of a result that others have left on its way}; {-2} if the id is used again
function commands.prompt_claim()
  local id, again = ARGV[3], ARGV[5] == '1'
  local had = redis.call('HMGET', prompt(id), 'done', 'result', 'token')
  if had[1] or had[2] then
    if not again then return {-2} end
    return {-1, had[3] or '', had[2] or ''}
  end
  if not again then
    forget(id)
    redis.call('HSET', prompt(id), 'since', stamp)
  end
  redis.call('HSET', prompt(id), 'token', ARGV[4])
  local tries = redis.call('HINCRBY', prompt(id), 'tries', 1)
  keep(id, ARGV[6])
  local about = redis.call('HMGET', prompt(id), 'reasons', 'principal')
  return {tries, about[1] or '', about[2] or ''}
end

local function is_of_another(id, token)
  local has = redis.call('HGET', prompt(id), 'token')
  return has and has ~= token
end

function commands.prompt_tried()  -- id, token, reasons
  if not is_of_another(ARGV[3], ARGV[4]) then
    redis.call('HSET', prompt(ARGV[3]), 'reasons', ARGV[5])
  end
end

function commands.prompt_show()  -- id, token, milliseconds, doc: what may get lost
  if is_of_another(ARGV[3], ARGV[4]) then return 0 end
  put(ARGV[6], ARGV[5])
  return 1
end

-- id, token, milliseconds, doc: {} if the task is another delivery's, {''} if this result can be
-- seen already, else {epoch, time} for the journal
function commands.prompt_stage()
  local id, token = ARGV[3], ARGV[4]
  if is_of_another(id, token) then return {} end
  if redis.call('HGET', prompt(id), 'done') then return {''} end
  redis.call('HSET', prompt(id), 'token', token, 'result', ARGV[6])
  redis.call('HSETNX', prompt(id), 'at', stamp)
  keep(id, ARGV[5])
  depart('prompt:' .. id)
  return {number, redis.call('HGET', prompt(id), 'at')}
end

local function show(id, token, at, kept, doc)
  redis.call('HDEL', prompt(id), 'result')
  redis.call('HSET', prompt(id), 'token', token, 'done', token)
  redis.call('HSETNX', prompt(id), 'since', at)
  keep(id, kept)
  put(doc, kept)
  land('prompt:' .. id)
end

function commands.prompt_reveal()  -- epoch, id, token, time, milliseconds
  local id, token = ARGV[4], ARGV[5]
  if ARGV[3] ~= number then return 0 end
  local doc = redis.call('HGET', prompt(id), 'result')
  if doc and not is_of_another(id, token) then show(id, token, ARGV[6], ARGV[7], doc) end
  return 1
end

commands['result!'] = function()  -- id, token, time, milliseconds, doc
  local id, token, at, ms = ARGV[4], ARGV[5], ARGV[6], left(ARGV[6], ARGV[7])
  local had = redis.call('HMGET', prompt(id), 'done', 'since')
  if ms <= 0 or had[1] == token or (had[2] and tonumber(had[2]) > tonumber(at)) then return end
  show(id, token, at, ms, ARGV[8])
end
"""
