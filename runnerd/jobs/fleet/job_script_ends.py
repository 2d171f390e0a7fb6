"""The half of the script that is about work: claims, what comes of them, and how jobs end.

An end is decided once, here: the job is *ending* with a token of its own, and no other end counts
any more.  Then the journal has to have it, and then everybody may see it (`reveal`).  So a result
that was seen is in the journal, whatever becomes of Redis.
"""

from __future__ import annotations

MOST_LEASE = 3600  # seconds; what lasts longer was set by a clock that was wrong
CLOCK_SET = 5  # seconds: less is the drift of a clock, or of ours
_TAKEN_OVER = 10  # seconds until others take care of an end

ENDS = """
local function holds(id, token)
  local job = get(id, 'state', 'token', 'ending')
  return job[1] == 'running' and job[2] == token and not job[3]
end
local function is_ending(id, token)
  local job = get(id, 'token', 'ending')
  return job[2] and job[1] == token
end
-- How many bytes a principal's results may take, below zero, if that is less than with more.
local function too_much(id, more)
  local most = tonumber(redis.call('GET', 'rj:most_results') or math.huge)
  if results_of(get(id, 'pid')[1]) + more > most then return -1 - most end
end
-- Adds to the output, if that has the length and there are as many responses as the caller knows:
-- else this was done before, or Redis has lost what was done before.
local function add(id, i)
  local output, responses = key(id) .. ':o', key(id) .. ':r'
  local at, have = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  local length, number = redis.call('STRLEN', output), redis.call('LLEN', responses)
  local more, news = #ARGV[i + 2], #ARGV - i - 2
  if length == at + more and number == have + news then return true end
  if length ~= at or number ~= have then return false end
  local size = more
  for j = i + 3, #ARGV do size = size + #ARGV[j] end
  local refused = too_much(id, size)
  if refused then return false, refused end
  weigh(id, tonumber(get(id, 'held')[1] or 0) + size)
  if more > 0 then redis.call('APPEND', output, ARGV[i + 2]) end
  for j = i + 3, #ARGV do redis.call('RPUSH', responses, ARGV[j]) end
  return true
end
local function stage(id, token, state, reason)
  redis.call('HSET', key(id), 'token', token, 'ending', state, 'end_reason', reason,
    'end_at', stamp)
  redis.call('ZREM', 'rj:leases', id)
  redis.call('ZADD', 'rj:ending', now + TAKEN_OVER, id)
  fly('end:' .. id)
end
local function finish(id)
  local job = get(id, 'pid', 'ending', 'end_reason', 'end_at', 'token', 'done')
  move(id, job[2])
  redis.call('HSET', key(id), 'ended', job[4], 'reason', job[3],
    'done', (job[6] or ' ') .. job[5] .. ' ')
  redis.call('HDEL', key(id), 'ending', 'end_reason', 'end_at')
  redis.call('ZADD', 'rj:ended', job[4], id)
  redis.call('ZREM', 'rj:deadlines', id)
  redis.call('ZREM', 'rj:leases', id)
  redis.call('ZREM', 'rj:ending', id)
  land('end:' .. id)
  open(job[1], -1)
  tell(id)
end

function commands.cancel()  -- id, state: {how it stands, the token that counts no more}
  local id, job = ARGV[3], get(ARGV[3], 'state', 'ending')
  if not job[1] then return {'none', ''} end
  if is_ended(job[1]) then return {'ended', ''} end
  if job[2] then return {'ending', ''} end
  local token = give_up(id)
  stage(id, next_token(), ARGV[4], ARGV[4] == 'expired' and 'its deadline has passed' or '')
  return {'given up', token}
end

function commands.reveal()  -- epoch, (id, token) ...
  if ARGV[3] ~= number then return 0 end
  for i = 4, #ARGV, 2 do
    if is_ending(ARGV[i], ARGV[i + 1]) then finish(ARGV[i]) end
  end
  return 1
end

-- id, created, token, state, ended, reason, started, output, worker, how often it was given back,
-- number of attempts, attempts, responses
commands['restore!'] = function()
  local id, token, job = ARGV[4], ARGV[6], get(ARGV[4], 'state', 'created', 'done')
  if not job[1] or job[2] ~= ARGV[5] or is_ended(job[1]) then return end
  if string.find(job[3] or '', ' ' .. token .. ' ', 1, true) then return end
  give_up(id)
  stage(id, token, ARGV[7], ARGV[9])
  redis.call('HSET', key(id), 'end_at', ARGV[8])
  finish(id)
  redis.call('DEL', key(id) .. ':o', key(id) .. ':a', key(id) .. ':r')
  if ARGV[10] ~= '' then redis.call('HSET', key(id), 'started', ARGV[10]) end
  if ARGV[11] ~= '' then redis.call('SET', key(id) .. ':o', ARGV[11]) end
  redis.call('HSET', key(id), 'worker', ARGV[12], 'given_back', ARGV[13])
  local attempts, size = tonumber(ARGV[14]), #ARGV[11]
  for i = 15, #ARGV do
    local is_response = i >= 15 + attempts
    redis.call('RPUSH', key(id) .. (is_response and ':r' or ':a'), ARGV[i])
    if is_response then size = size + #ARGV[i] end
  end
  weigh(id, size)
end

function commands.claim()  -- worker, seconds, limit, 'all' or models ...
  promote()
  local models, claims = {}, {}
  for i = 7, #ARGV do models[#models + 1] = ARGV[i] end
  if ARGV[6] == 'all' then models = redis.call('SMEMBERS', 'rj:models') end
  while #claims < 2 * tonumber(ARGV[5]) do
    local member, order, queue
    for _, model in ipairs(models) do
      local head = redis.call('ZRANGE', 'rj:q:' .. model, 0, 0, 'WITHSCORES')
      if #head == 0 then redis.call('SREM', 'rj:models', model)
      else
        local here = tonumber(head[2])
        if not member or here < order or (here == order and head[1] < member) then
          member, order, queue = head[1], here, 'rj:q:' .. model
        end
      end
    end
    if not member then break end
    redis.call('ZREM', queue, member)
    local id = string.sub(member, 17)
    local job = get(id, 'deadline', 'v')
    if job[1] and job[1] ~= '' and tonumber(job[1]) <= now then
      later(id, TAKEN_OVER)  -- it is about to expire, unless a clock is wrong
    else
      if tonumber(job[2]) > tonumber(redis.call('GET', 'rj:v') or 0) then
        redis.call('SET', 'rj:v', job[2])
      end
      local token = next_token()
      move(id, 'running')
      redis.call('HSET', key(id), 'token', token, 'worker', ARGV[3], 'started', stamp)
      local held = tonumber(get(id, 'held')[1] or 0)
      weigh(id, math.max(0, held - redis.call('STRLEN', key(id) .. ':o')))
      redis.call('DEL', key(id) .. ':o')
      redis.call('ZADD', 'rj:leases', now + tonumber(ARGV[4]), id)
      tell(id)
      claims[#claims + 1] = id
      claims[#claims + 1] = token
    end
  end
  return claims
end

function commands.extend()  -- id, token, seconds
  if not holds(ARGV[3], ARGV[4]) then return 0 end
  redis.call('ZADD', 'rj:leases', now + tonumber(ARGV[5]), ARGV[3])
  return 1
end

function commands.append()  -- id, token, length, number, output, responses ...
  if not holds(ARGV[3], ARGV[4]) then return 0 end
  local added, refused = add(ARGV[3], 5)
  if not added then return refused or 0 end
  tell(ARGV[3])
  return 1
end

function commands.complete()  -- id, token, length, number, output, responses ...
  local id, token = ARGV[3], ARGV[4]
  if is_ending(id, token) then return 1 end
  if not holds(id, token) then return 0 end
  local added, refused = add(id, 5)
  if not added then return refused or 0 end
  stage(id, token, 'completed', '')
  return 1
end

function commands.fail()  -- id, token, pause or '', end, reason
  local id, token, pause = ARGV[3], ARGV[4], ARGV[5]
  if is_ending(id, token) then return 1 end
  if not holds(id, token) then return 0 end
  local job = get(id, 'worker', 'started')
  redis.call('RPUSH', key(id) .. ':a',
    cjson.encode({job[1], tonumber(job[2]), now, ARGV[6], ARGV[7]}))
  redis.call('ZREM', 'rj:leases', id)
  if ARGV[6] == 'lost' then redis.call('PUBLISH', 'rj:lost', id .. ' ' .. token) end
  if pause == '' then stage(id, token, 'failed', ARGV[7])
  else
    move(id, 'queued')
    later(id, tonumber(pause))
    tell(id)
  end
  return 1
end

function commands.release()  -- id, token, pause, turns
  if not holds(ARGV[3], ARGV[4]) then return 0 end
  redis.call('HINCRBY', key(ARGV[3]), 'v', ARGV[6])
  redis.call('HINCRBY', key(ARGV[3]), 'order', ARGV[6])
  redis.call('HINCRBY', key(ARGV[3]), 'given_back', 1)
  redis.call('ZREM', 'rj:leases', ARGV[3])
  move(ARGV[3], 'queued')
  later(ARGV[3], tonumber(ARGV[5]))
  tell(ARGV[3])
  return 1
end

-- Corrects a clock that was set: by so many seconds, if nobody has done it already.
function commands.correct()  -- the offset that the caller knows, seconds to add
  local offset = tonumber(redis.call('GET', 'rj:offset') or 0)
  if math.abs(offset - tonumber(ARGV[3])) > 0.001 then return 0 end
  redis.call('SET', 'rj:offset', string.format('%.6f', offset + tonumber(ARGV[4])))
  now = now + tonumber(ARGV[4])
  for _, index in ipairs({'rj:leases', 'rj:later', 'rj:ending', 'rj:flying'}) do
    local far = string.format('(%.6f', now + MOST_LEASE)
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', index, far, '+inf')) do
      redis.call('ZADD', index, now + SOON, member)
    end
  end
  return 1
end

-- seconds that results are kept, the time that it has to be ('' where that is not known; if the
-- clock was set nothing is due): {time, offset, {(id, token) that were lost}, {ids that are late},
-- {ids whose end is stuck}, {ids that are old}, {epoch, changes so far}}: the last where a new mark
-- is worth while and the caller's to set
function commands.look()
  local told = {string.format('%.6f', steady), redis.call('GET', 'rj:offset') or '0'}
  if ARGV[4] ~= '' and math.abs(steady - tonumber(ARGV[4])) > CLOCK_SET then return told end
  promote()
  local lost, old = {}, {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'rj:leases', '-inf', now, 'LIMIT', 0, 500)) do
    lost[#lost + 1] = id
    lost[#lost + 1] = get(id, 'token')[1]
  end
  local late = redis.call('ZRANGEBYSCORE', 'rj:deadlines', '-inf', now, 'LIMIT', 0, 500)
  local stuck = redis.call('ZRANGEBYSCORE', 'rj:ending', '-inf', now, 'LIMIT', 0, 100)
  for _, id in ipairs(stuck) do redis.call('ZADD', 'rj:ending', now + TAKEN_OVER, id) end
  if math.abs(now - tonumber(redis.call('GET', 'rj:swept') or 0)) > TAKEN_OVER then
    old = redis.call('ZRANGEBYSCORE', 'rj:ended', '-inf', now - tonumber(ARGV[3]), 'LIMIT', 0, 500)
    if #old < 500 then redis.call('SET', 'rj:swept', string.format('%.6f', now)) end
    for _, flight in ipairs(redis.call('ZRANGEBYSCORE', 'rj:flying', '-inf', now - FORGOTTEN)) do
      land(flight)
    end
  end
  local begun, marking = redis.call('GET', 'rj:begun'), {}
  if begun and begun ~= redis.call('GET', 'rj:marked')
    and redis.call('SET', 'rj:marking', '1', 'NX', 'PX', 15000) then marking = {number, begun} end
  return {told[1], told[2], lost, late, stuck, old, marking}
end

function commands.mark()  -- epoch, changes so far, where the mark is
  if ARGV[3] ~= number then return 0 end
  redis.call('SET', 'rj:marked', ARGV[4])
  redis.call('SET', 'rj:mark', ARGV[5])
  return 1
end

commands['give_up!'] = function() redis.call('DEL', 'rj:rebuilding') end

commands['whole!'] = function()  -- epoch, run_id, where the journal was read to
  redis.call('SET', 'rj:epoch', ARGV[4] .. ' ' .. ARGV[5])
  redis.call('SET', 'rj:mark', ARGV[6])
  redis.call('DEL', 'rj:rebuilding')
end
"""

for _name, _value in {
    "TAKEN_OVER": _TAKEN_OVER,
    "MOST_LEASE": MOST_LEASE,
    "CLOCK_SET": CLOCK_SET,
    "SOON": 60,
    "FORGOTTEN": 300,
}.items():
    ENDS = ENDS.replace(_name, str(_value))
