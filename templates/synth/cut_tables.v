// A table of five or six inputs as tables of four: a rule for Yosys' techmap. The last inputs choose among tables of
// the first four. To choose among four takes two more: the first one passes the chosen of the lower two, or, where
// A[5] is 1, A[4] itself, by which the second one then chooses of the upper two.
(* techmap_celltype = "$lut" *)
module cut_table (A, Y);
  parameter WIDTH = 0;
  parameter LUT = 0;
  (* force_downto *)
  input [WIDTH-1:0] A;
  output Y;

  generate
    if (WIDTH == 5) begin
      wire [1:0] chosen;
      \$lut #(.WIDTH(4), .LUT(LUT[15:0])) table0 (.A(A[3:0]), .Y(chosen[0]));
      \$lut #(.WIDTH(4), .LUT(LUT[31:16])) table1 (.A(A[3:0]), .Y(chosen[1]));
      \$lut #(.WIDTH(3), .LUT(8'hca)) choose (.A({A[4], chosen}), .Y(Y));
    end else if (WIDTH == 6) begin
      wire [3:0] chosen;
      wire lower;
      \$lut #(.WIDTH(4), .LUT(LUT[15:0])) table0 (.A(A[3:0]), .Y(chosen[0]));
      \$lut #(.WIDTH(4), .LUT(LUT[31:16])) table1 (.A(A[3:0]), .Y(chosen[1]));
      \$lut #(.WIDTH(4), .LUT(LUT[47:32])) table2 (.A(A[3:0]), .Y(chosen[2]));
      \$lut #(.WIDTH(4), .LUT(LUT[63:48])) table3 (.A(A[3:0]), .Y(chosen[3]));
      \$lut #(.WIDTH(4), .LUT(16'hf0ca)) choose_lower (.A({A[5], A[4], chosen[1:0]}), .Y(lower));
      \$lut #(.WIDTH(4), .LUT(16'hcaf0)) choose (.A({A[5], lower, chosen[3:2]}), .Y(Y));
    end else begin
      wire _TECHMAP_FAIL_ = 1;
    end
  endgenerate
endmodule
