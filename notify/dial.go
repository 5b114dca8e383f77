package notify

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// trackingPrefix begins no name of anyone's. It is the same in every process, since Redis walks all distinct prefixes at
// every write.
const trackingPrefix = "\x00freshet"

var errRedial = errors.New("the connection is gone and a session does not dial twice")

// patience bounds the making of a session: a dial and a round trip, as the user's client has them.
func (p *primary) patience() time.Duration {
	d := 5 * time.Second
	if p.rdb.DialTimeout > 0 {
		d = p.rdb.DialTimeout
	}
	return d + readTimeout(&p.rdb)
}

func readTimeout(o *redis.Options) time.Duration {
	if o.ReadTimeout > 0 {
		return o.ReadTimeout
	}
	return 5 * time.Second
}

// clientOptions are the user's, less all that would do something behind the session's back.
func (p *primary) clientOptions() *redis.Options {
	return plainOptions(p.rdb, p.l.opts.PongTimeout)
}

func plainOptions(o redis.Options, patience time.Duration) *redis.Options {
	o.Protocol = 3
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.ReadTimeout = readTimeout(&o)
	o.WriteTimeout = max(patience, time.Second)
	o.PoolTimeout = o.ReadTimeout
	o.ContextTimeoutEnabled = true
	o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = 1, 0, 0, 0
	o.PipelinePoolSize = -1
	o.ConnMaxIdleTime, o.ConnMaxLifetime = -1, 0
	o.Limiter = nil
	o.ClientSideCacheConfig, o.ClientSideCache = nil, nil
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.PushNotificationProcessor = redis.NewPushNotificationProcessor()
	if p := o.StreamingCredentialsProvider; p != nil {
		o.StreamingCredentialsProvider, o.CredentialsProviderContext = nil, asTheyAre(p)
	}
	return &o
}

// asTheyAre has every connection begin with the credentials of the moment and follow no later ones: a redis.Conn panics over a
// streaming provider, and a PubSub does not follow it either.
func asTheyAre(p auth.StreamingCredentialsProvider) func(context.Context) (user, password string, err error) {
	return func(context.Context) (user, password string, err error) {
		credentials, unsubscribe, err := p.Subscribe(new(passer))
		if err != nil {
			return "", "", err
		}
		user, password = credentials.BasicAuth()
		return user, password, unsubscribe()
	}
}

// passer listens to a credentials provider for no longer than it is asked. It holds something, for each is to be another.
type passer struct{ _ byte }

func (*passer) OnNext(auth.Credentials) {}
func (*passer) OnError(error)           {}

func (s *session) newVoice() *redis.Client {
	o := s.p.clientOptions()
	dial := o.Dialer
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if !s.dialled.CompareAndSwap(false, true) {
			return nil, errRedial
		}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		w, conn := watch(conn, s.clock)
		s.conn.Store(w)
		select {
		case <-s.dead: // fail may have come before there was anything to close
			conn.Close()
		default:
		}
		return conn, nil
	}
	users := o.OnConnect
	o.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		if users != nil {
			if err := users(ctx, conn); err != nil {
				return err
			}
		}
		return s.meet(ctx, conn)
	}
	client := redis.NewClient(o)
	// The one error it knows is that the name is taken, and the processor is new.
	_ = client.RegisterPushNotificationHandler("invalidate", invalidations{s}, true)
	return client
}

// meet learns on the PubSub's own connection who answers there, and asks to hear of flushes.
func (s *session) meet(ctx context.Context, conn *redis.Conn) error {
	id, err := identify(ctx, conn)
	if err != nil {
		return err
	}
	if err := id.fault(); err != nil {
		var fault *SetupError
		if s.l.electorate != nil && errors.As(err, &fault) && fault.Missing == MissingRole {
			return fault.Err // it was one when the view was taken, or will be
		}
		return err
	}
	s.identity = id
	if id.proto != 3 {
		s.tracking = errors.New("the server does not speak RESP3")
		return nil
	}
	err = conn.Do(ctx, "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", trackingPrefix).Err()
	if err != nil && !refused(err) {
		return err
	}
	s.tracking = err
	return nil
}
