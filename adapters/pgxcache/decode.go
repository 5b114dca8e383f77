package pgxcache

import (
	"slices"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// decoder decodes values as one connection does: with the types that were registered there. A pgtype.Map is for one
// goroutine, so each Rows has one to itself while it is open.
type decoder struct {
	like  *pgtype.Map // a copy of the connection's, only copied from
	spare sync.Pool   // of *decoding
}

// decoding is a map, and what it has instead of its user's types.
type decoding struct {
	types *pgtype.Map
	own   map[*pgtype.Type]*pgtype.Type
	from  *decoder
}

func newDecoder(m *pgtype.Map) *decoder {
	like := m.Copy()
	like.TryWrapScanPlanFuncs = slices.Clone(m.TryWrapScanPlanFuncs)
	return &decoder{like: like}
}

// builtin is the map of a connection on which nothing was registered. It is only looked up in.
var builtin = sync.OnceValue(pgtype.NewMap)

// registered are the types of fields that m has from its user.
func registered(m *pgtype.Map, fields []pgconn.FieldDescription) []*pgtype.Type {
	var found []*pgtype.Type
	for i := range fields {
		oid := fields[i].DataTypeOID
		t, ok := m.TypeForOID(oid)
		if b, _ := builtin().TypeForOID(oid); ok && t != b && !slices.Contains(found, t) {
			found = append(found, t)
		}
	}
	return found
}

// private reports whether values of one of these fields name their types themselves, as records do, value by value: which
// are to be adopted cannot be told, and the connection's own are not to be shared.
func private(m *pgtype.Map, fields []pgconn.FieldDescription) bool {
	for i := range fields {
		if t, ok := m.TypeForOID(fields[i].DataTypeOID); ok && holdsRecords(t) {
			return true
		}
	}
	return false
}

func holdsRecords(t *pgtype.Type) bool {
	switch t.OID {
	case pgtype.RecordOID, pgtype.RecordArrayOID:
		return true
	}
	switch c := t.Codec.(type) {
	case pgtype.RecordCodec, *pgtype.RecordCodec:
		return true
	case *pgtype.ArrayCodec:
		return holdsRecords(c.ElementType)
	case *pgtype.RangeCodec:
		return holdsRecords(c.ElementType)
	case *pgtype.MultirangeCodec:
		return holdsRecords(c.ElementType)
	case *pgtype.CompositeCodec:
		return slices.ContainsFunc(c.Fields, func(f pgtype.CompositeCodecField) bool { return holdsRecords(f.Type) })
	}
	return false
}

// knows reports whether d decodes these types as they are registered now.
func (d *decoder) knows(types []*pgtype.Type) bool {
	for _, t := range types {
		if had, _ := d.like.TypeForOID(t.OID); had != t {
			return false
		}
	}
	return true
}

// take returns a map for one Rows with columns of these registered types.
func (d *decoder) take(types []*pgtype.Type) *decoding {
	g, ok := d.spare.Get().(*decoding)
	if !ok {
		m := d.like.Copy()
		m.TryWrapScanPlanFuncs = d.like.TryWrapScanPlanFuncs
		g = &decoding{types: m, from: d}
	}
	for _, t := range types {
		g.adopt(t)
	}
	return g
}

func (g *decoding) done() { g.from.spare.Put(g) }

// adopt makes a type of pgx's own that keeps a state (enums remember their words), and all that is built of such, this
// map's alone. Others can be shared, as they are by those who register them on several connections.
func (g *decoding) adopt(t *pgtype.Type) *pgtype.Type {
	if b, _ := builtin().TypeForOID(t.OID); t == b {
		return t
	}
	if mine := g.own[t]; mine != nil {
		return mine
	}
	mine := *t
	if g.own == nil {
		g.own = map[*pgtype.Type]*pgtype.Type{}
	}
	g.own[t] = &mine
	switch c := t.Codec.(type) {
	case *pgtype.EnumCodec:
		mine.Codec = &pgtype.EnumCodec{}
	case *pgtype.ArrayCodec:
		array := *c
		array.ElementType = g.adopt(c.ElementType)
		mine.Codec = &array
	case *pgtype.RangeCodec:
		mine.Codec = &pgtype.RangeCodec{ElementType: g.adopt(c.ElementType)}
	case *pgtype.MultirangeCodec:
		mine.Codec = &pgtype.MultirangeCodec{ElementType: g.adopt(c.ElementType)}
	case *pgtype.CompositeCodec:
		fields := slices.Clone(c.Fields)
		for i := range fields {
			fields[i].Type = g.adopt(fields[i].Type)
		}
		mine.Codec = &pgtype.CompositeCodec{Fields: fields}
	}
	if named, _ := g.from.like.TypeForOID(t.OID); named == t {
		g.types.RegisterType(&mine)
	} else if named != nil { // a part under another name than by itself
		g.adopt(named)
	}
	return &mine
}
